"""The backend for URLs: ``s3://``, ``https://``, ``memory://``, ``file://`` and others."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from messaging.errors import UsageError
from storage_backends.contract import StorageBackend, Transfer
from storage_backends.directories.nfs import NfsBackend
from storage_backends.errors import StorageDeniedError
from storage_backends.objects.backend import ObjectBackend
from storage_backends.objects.store import ObjectStore
from storage_backends.pool import TransferPool
from storage_backends.protocols.errors import one_line, shown_url
from storage_backends.retrying import Retry
from storage_backends.watch import Watch

#: What to install for a protocol, where Portfire has an extra for it.
_EXTRAS: Mapping[str, str] = {"s3": "s3", "s3a": "s3", "http": "http", "https": "http"}
#: Imported when asked for: they need the packages of their protocol.
_STORES: Mapping[str, str] = {
    "s3": "storage_backends.s3.store:S3Store",
    "s3a": "storage_backends.s3.store:S3Store",
    "http": "storage_backends.protocols.http:HttpStore",
    "https": "storage_backends.protocols.http:HttpStore",
    "memory": "storage_backends.protocols.file_systems:MemoryStore",
}
_ANY = "storage_backends.protocols.file_systems:FileSystemStore"
_URL = re.compile(r"([a-z][a-z0-9+.-]*)://(.*)", re.DOTALL)
_EXAMPLES = "'s3://bucket', 'https://host/directory', 'file:///directory'"


class FsspecBackend(ObjectBackend):
    """The store at the option ``url``, over fsspec; ``fsspec`` are the file system's own options.

    For S3 also ``key``, ``secret``, ``token``, ``endpoint_url`` and ``region``; without them,
    botocore finds what AWS' own tools find (AWS_* in the environment, AWS_ENDPOINT_URL too).
    ``file://`` is a directory, so the `NfsBackend` of that directory serves it.
    """

    @classmethod
    def open(cls, options: dict[str, Any], pool: TransferPool) -> StorageBackend:
        """See the contract. Raises UsageError that says which package to install, if one is."""
        protocol, rest = _split(options.get("url"))
        if protocol in ("file", "local"):
            return NfsBackend.open({**options, "workdir": rest.rstrip("/") or "/"}, pool)
        given = options.get("fsspec") or {}
        if not isinstance(given, Mapping):
            raise UsageError(
                "storage option 'fsspec' must be the file system's own options by name"
            )
        _require(protocol)
        module, _, name = _STORES.get(protocol, _ANY).partition(":")
        kind = getattr(import_module(module), name)
        store: ObjectStore = kind.open(f"{protocol}://{rest}", {**options, "fsspec": given}, pool)
        backend = _ReadOnlyBackend if protocol in ("http", "https") else cls
        return backend(store, pool, Retry.of(options))


class _ReadOnlyBackend(FsspecBackend):
    """A backend whose store refuses all changes."""

    def store(
        self,
        source: Path,  # noqa: ARG002 - refused
        name: str,
        *,
        within: Path,  # noqa: ARG002 - refused
        watch: Watch | None = None,  # noqa: ARG002 - refused
    ) -> Transfer:
        """Refused."""
        raise self._refused("storing", name)

    def remove(self, name: str) -> None:
        """Refused, also where nothing is that could be removed."""
        raise self._refused("removing", name)

    def _refused(self, doing: str, name: str) -> StorageDeniedError:
        return StorageDeniedError(f"{doing} {name!r} ({self._store.url}): HTTP is only read from")


def _split(url: object) -> tuple[str, str]:
    if not isinstance(url, str) or not url:
        raise UsageError(f"storage backend 'fsspec' needs 'url', the root URL: {_EXAMPLES}")
    match = _URL.fullmatch(url)
    if match is None or "::" in url:
        shown = one_line(shown_url(url))
        raise UsageError(f"storage URL {shown!r}: expected PROTOCOL://PLACE, as {_EXAMPLES}")
    return match[1], match[2]


def _require(protocol: str) -> None:
    """Raise UsageError unless the packages for `protocol` are installed and import."""
    extra = _EXTRAS.get(protocol, "fsspec")
    try:
        registry = import_module("fsspec.registry")
    except ImportError as exc:
        raise UsageError(f"{protocol}:// needs fsspec: pip install 'portfire[{extra}]'") from exc
    try:
        registry.get_filesystem_class(protocol)
    except ImportError as exc:
        if protocol in _EXTRAS:
            remedy = f"pip install 'portfire[{extra}]' ({one_line(exc.__cause__ or exc)})"
        else:
            # There is an extra for the common ones only; fsspec's own text names the package.
            remedy = one_line(exc)
        raise UsageError(f"{protocol}:// needs a package that is not here: {remedy}") from exc
    except ValueError as exc:
        few = "s3, https, memory, file, sftp, webdav, hdfs, abfs"
        raise UsageError(f"fsspec knows no {protocol}://: it has {few} and others") from exc
