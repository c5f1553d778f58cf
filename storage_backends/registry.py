"""From a backend's name to the backend. Modules are imported when first asked for."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from messaging.errors import UsageError
from storage_backends.contract import StorageBackend
from storage_backends.pool import TransferPool

_BACKENDS: Mapping[str, str] = {
    "fsspec": "storage_backends.protocols.backend:FsspecBackend",
    "gcs": "storage_backends.gcs.backend:GcsBackend",
    "gridftp": "storage_backends.gridftp.backend:GridFtpBackend",
    "local": "storage_backends.directories.local:LocalBackend",
    "nfs": "storage_backends.directories.nfs:NfsBackend",
    "plgdata": "storage_backends.plgdata.backend:PlgDataBackend",
}
#: Other words for the same; hyperflow's README lists SSHFS under ``nfs``.
ALIASES: Mapping[str, str] = {"gs": "gcs", "gsiftp": "gridftp", "s3a": "s3", "sshfs": "nfs"}


def backend_names() -> list[str]:
    """The backends that exist here, without aliases."""
    return sorted(_BACKENDS)


def storage_names() -> list[str]:
    """What people write for them; `storage_backends.places.choice` makes backends of it."""
    return sorted({*_BACKENDS, "cloud", "s3"} - {"fsspec"})


def backend_name(name: str) -> str:
    """The backend's own name for `name` or an alias of it. Raises UsageError."""
    own = ALIASES.get(name, name)
    if own not in _BACKENDS:
        raise unknown_backend(name)
    return own


def unknown_backend(name: str) -> UsageError:
    """The error for a name that is none, which lists what there is."""
    shown = name if len(name) <= 60 else f"{name[:57]}..."
    return UsageError(
        f"unknown storage backend {shown!r}: this Portfire has {', '.join(storage_names())}, "
        "or a URL such as gs://bucket/folder"
    )


def open_backend(
    name: str, options: Mapping[str, Any], pool: TransferPool | None = None
) -> StorageBackend:
    """The backend `name` with `options`; its transfers run on `pool`, by default one of its own.

    Raises UsageError for a wrong name or option.
    """
    module, _, attribute = _BACKENDS[backend_name(name)].partition(":")
    backend: type[StorageBackend] = getattr(import_module(module), attribute)
    return backend.open(dict(options), pool or TransferPool())
