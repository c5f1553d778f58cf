"""Files in PL-Grid Data, over its HTTP service: see `plgdata.service` for the protocol."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from messaging.errors import UsageError
from storage_backends.contract import Entry, StorageBackend, Transfer
from storage_backends.directories.boundary import open_inside
from storage_backends.errors import (
    StorageDeniedError,
    naming,
)
from storage_backends.objects.landing import landing
from storage_backends.objects.uploads import inspect
from storage_backends.paths import checked_name, is_tree
from storage_backends.plgdata.service import PlgDataService
from storage_backends.pool import TransferPool
from storage_backends.proxy_certificate import proxy_file
from storage_backends.retrying import Retry
from storage_backends.side_by_side import SideBySide
from storage_backends.watch import Watch

_ENDPOINT = "https://data.plgrid.pl"
#: The service's own limit for a file, in bytes.
UPLOAD_LIMIT = 256 << 20
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


class PlgDataBackend(SideBySide):
    """Files below ``endpoint``: an option, else PLGDATA_ENDPOINT, else PL-Grid's own.

    Trees are stored, file by file and without empty directories; they cannot be fetched or listed,
    and nothing can be removed: StorageDeniedError says so. Files have no version and no checksum;
    of a download the size is compared. ``upload_limit`` is the largest file in bytes;
    ``proxy_in_url`` sends the proxy certificate in the URL of a download, as HyperFlow does.
    """

    def __init__(self, service: PlgDataService, pool: TransferPool, retry: Retry) -> None:
        self._service = service
        self._pool = pool
        self._retry = retry

    @classmethod
    def open(cls, options: dict[str, Any], pool: TransferPool) -> StorageBackend:
        """See the contract. Raises UsageError for no proxy certificate, and for plain HTTP."""
        endpoint = options.get("endpoint") or os.environ.get("PLGDATA_ENDPOINT") or _ENDPOINT
        limit = options.get("upload_limit", UPLOAD_LIMIT)
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
            raise UsageError(f"storage option 'upload_limit' {limit!r}: expected bytes, from 0")
        in_url = options.get("proxy_in_url", False)
        if not isinstance(in_url, bool):
            raise UsageError(f"storage option 'proxy_in_url' {in_url!r}: expected true or false")
        service = PlgDataService(
            _checked_endpoint(endpoint),
            proxy_file(os.environ),
            limit,
            pool.threads,
            proxy_in_url=in_url,
        )
        return cls(service, pool, Retry.of(options))

    def fetch(
        self,
        name: str,
        target: Path,
        *,
        watch: Watch | None = None,
        read_only: bool = False,  # noqa: ARG002 - nothing here is shared
    ) -> Transfer:
        """See the contract."""
        started = time.monotonic()
        with self._naming("fetching", name):
            checked_name(name, "name")
            _refuse_tree(name)
            target.parent.mkdir(parents=True, exist_ok=True)
            moved = self._retry.call(partial(self._download, name, target), watch or Watch())
        return Transfer(moved, time.monotonic() - started)

    def store(
        self, source: Path, name: str, *, within: Path, watch: Watch | None = None
    ) -> Transfer:
        """See the contract. Every file over the limit is refused before the first byte is sent."""
        started = time.monotonic()
        boundary = within.resolve()
        with self._naming("storing", name):
            checked_name(name, "name")
            files = {name: source}
            if is_tree(name):
                found = inspect(source, boundary).files
                if not found:
                    raise StorageDeniedError("PL-Grid Data keeps no empty directories")
                files = {name + part: path for part, path in found.items()}
        for file, path in files.items():
            with self._naming("storing", file), _opened(path, boundary) as (_, size):
                self._service.require_room(size)
        part = (watch or Watch()).part()
        calls = [partial(self._store, path, file, boundary, part) for file, path in files.items()]
        moved = sum(self._pool.run(calls, part.stop))
        return Transfer(moved, time.monotonic() - started)

    def entries(self, name: str) -> list[Entry]:
        """See the contract. Of a file; its size is asked for by a download that is broken off."""
        with self._naming("listing", name):
            if name:
                checked_name(name, "name")
            _refuse_tree(name or "/")
            size = self._retry.call(lambda _: self._service.size(name), Watch())
        return [Entry(name, size)]

    def remove(self, name: str) -> None:
        """Refused with StorageDeniedError: the service has no call for it."""
        with self._naming("removing", name):
            checked_name(name, "name")
            raise StorageDeniedError("PL-Grid Data removes nothing over HTTP: use its web page")

    def close(self) -> None:
        """See the contract."""
        self._service.close()

    def _download(self, name: str, target: Path, watch: Watch) -> int:
        with landing(target) as temporary:
            with temporary.open("wb", buffering=0) as into:
                moved = self._service.download(name, into, watch)
            watch.check()
        return moved

    def _store(self, source: Path, name: str, boundary: Path, watch: Watch) -> int:
        with self._naming("storing", name), _opened(source, boundary) as (opened, size):

            def attempt(part: Watch) -> int:
                part.check()
                opened.seek(0)
                self._service.upload(name, opened, size, part)
                return size

            return self._retry.call(attempt, watch)

    def _naming(self, doing: str, name: str) -> AbstractContextManager[None]:
        return naming(doing, name, self._service.endpoint)


def _checked_endpoint(endpoint: object) -> str:
    parts = urlsplit(endpoint) if isinstance(endpoint, str) else urlsplit("")
    expected = f"expected a URL such as {_ENDPOINT}"
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise UsageError(f"PLGDATA_ENDPOINT {endpoint!r}: {expected}")
    if parts.username is not None:
        raise UsageError(f"PLGDATA_ENDPOINT has a user in it: {expected}")
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise UsageError(
            f"PLGDATA_ENDPOINT {endpoint!r}: the proxy's private key would travel in the clear:"
            " use https://"
        )
    return parts.geturl().rstrip("/")


@contextmanager
def _opened(path: Path, boundary: Path) -> Iterator[tuple[BinaryIO, int]]:
    with os.fdopen(open_inside(path, boundary), "rb", buffering=0) as opened:
        yield opened, os.fstat(opened.fileno()).st_size


def _refuse_tree(name: str) -> None:
    if is_tree(name):
        raise StorageDeniedError("PL-Grid Data has no call that lists a tree: name each file")
