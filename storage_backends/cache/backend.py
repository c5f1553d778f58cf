"""A backend whose fetches go through the input cache."""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from storage_backends.cache.files import InputCache, cache_digest
from storage_backends.cache.placing import place
from storage_backends.contract import Entry, StorageBackend, Transfer, Upload
from storage_backends.errors import StorageError, from_os_error
from storage_backends.objects.checksum import of_tree
from storage_backends.objects.listing import tree_of
from storage_backends.objects.store import StoredObject
from storage_backends.paths import is_tree
from storage_backends.pool import TransferPool
from storage_backends.side_by_side import SideBySide
from storage_backends.watch import Watch

log = logging.getLogger(__name__)

#: Fetches after which a store that has given no version is asked for one only now and then: files
#: may have been too new.
_PATIENCE = 3
#: Seconds until it is asked again.
_PAUSE = 60.0
_CANNOT_HOLD = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO}


class CachedBackend(SideBySide):
    """`inner`, with every file that it gives a version for fetched once and kept in `cache`.

    The store is asked for the current version at each fetch (one request for a file, one listing
    for a tree), so a file that was replaced is fetched anew. What the cache cannot hold is fetched
    without it. Bytes for which a call waited while another fetched them count as cached.
    """

    def __init__(
        self,
        inner: StorageBackend,
        cache: InputCache,
        url: str,
        pool: TransferPool,
        pause: float = _PAUSE,
    ) -> None:
        """`url` tells this store, with the credentials used, from all others in `cache`.

        A store without versions is asked for one again after `pause` seconds.
        """
        self._inner = inner
        self._cache = cache
        self._url = url
        self._pool = pool
        self._pause = pause
        #: Whether any file had a version, how many fetches have found none, and until when the
        #: store is not asked.
        self._has_versions = False
        self._without_version = 0
        self._unasked_until = 0.0

    @classmethod
    def open(cls, options: dict[str, Any], pool: TransferPool) -> NoReturn:
        """Not by options: it needs a backend and a cache."""
        raise NotImplementedError

    @property
    def shared_directory(self) -> Path | None:
        """See the contract."""
        return self._inner.shared_directory

    def fetch(
        self, name: str, target: Path, *, watch: Watch | None = None, read_only: bool = False
    ) -> Transfer:
        """See the contract."""
        watch = watch or Watch()
        started = time.monotonic()
        entries = self._listed(name, watch) if self._may_have_versions else []
        files = [entry for entry in entries if not is_tree(entry.name)]
        self._note_versions(files)
        if not files or not all(entry.version for entry in files):
            return self._inner.fetch(name, target, watch=watch, read_only=read_only)
        if is_tree(name):
            transfer = self._fetch_tree(name, entries, target, watch, read_only)
        else:
            transfer = self._fetch_file(files[0], target, watch, read_only)
        return replace(transfer, seconds=time.monotonic() - started)

    def store(
        self, source: Path, name: str, *, within: Path, watch: Watch | None = None
    ) -> Transfer:
        """See the contract."""
        return self._inner.store(source, name, within=within, watch=watch)

    def entries(self, name: str) -> list[Entry]:
        """See the contract."""
        return self._inner.entries(name)

    def remove(self, name: str) -> None:
        """See the contract."""
        self._inner.remove(name)

    def close(self) -> None:
        """Close the inner backend; the cache stays."""
        self._inner.close()

    def fetch_all(
        self, wanted: Mapping[str, Path], *, watch: Watch | None = None, read_only: bool = False
    ) -> dict[str, Transfer]:
        """See the contract."""
        if not self._may_have_versions:
            return self._inner.fetch_all(wanted, watch=watch, read_only=read_only)
        return super().fetch_all(wanted, watch=watch, read_only=read_only)

    def store_all(
        self, uploads: Sequence[Upload], *, watch: Watch | None = None
    ) -> dict[str, Transfer]:
        """See the contract."""
        return self._inner.store_all(uploads, watch=watch)

    @property
    def _may_have_versions(self) -> bool:
        """Asking a store that has none would cost a request for each file."""
        return self._has_versions or time.monotonic() >= self._unasked_until

    def _note_versions(self, files: Sequence[Entry]) -> None:
        if any(entry.version for entry in files):
            self._has_versions = True
        elif files:
            self._without_version += 1
            if self._without_version >= _PATIENCE:
                self._unasked_until = time.monotonic() + self._pause

    def _listed(self, name: str, watch: Watch) -> list[Entry]:
        """What the store has; it cannot be stopped meanwhile, but is left afterwards."""
        watch.check()
        entries = self._inner.entries(name)
        watch.check()
        return entries

    def _fetch_tree(
        self, name: str, entries: list[Entry], target: Path, watch: Watch, read_only: bool
    ) -> Transfer:
        listed = [StoredObject(entry.name, entry.size, entry.version) for entry in entries]
        try:
            tree = tree_of(name, listed)
            for directory in ("", *tree.directories):
                (target / directory).mkdir(parents=True, exist_ok=True)
        except StorageError as exc:
            raise type(exc)(f"fetching tree {name!r}: {exc}") from exc
        except OSError as exc:
            raise from_os_error(exc, f"fetching tree {name!r}") from exc
        part = watch.part()
        calls = [
            partial(self._fetch_file, _entry(found), target / file, part, read_only)
            for file, found in tree.files.items()
        ]
        transfers = self._pool.run(calls, part.stop)
        checksums = (transfer.checksum for transfer in transfers)
        return Transfer(
            sum(transfer.bytes for transfer in transfers),
            0.0,
            of_tree(zip(tree.files, checksums, strict=True)),
            cached=sum(transfer.cached for transfer in transfers),
        )

    def _fetch_file(self, entry: Entry, target: Path, watch: Watch, read_only: bool) -> Transfer:
        placed = partial(self._placed, target=target, watch=watch, read_only=read_only)
        while entry.version is not None:
            digest = self._digest(entry)
            if transfer := placed(entry):
                return transfer
            with self._cache.flights.join(digest, watch) as leads:
                # Another may have led, and landed, since we looked.
                if leads and (transfer := placed(entry)):
                    return transfer
                kept = self._download(entry, watch) if leads else None
            # Its bytes were counted as they came.
            if kept and (transfer := placed(kept, watch=watch.follower())):
                return replace(transfer, cached=0)
            if leads:
                break
            # It may have been replaced since it was asked for.
            [entry] = self._listed(entry.name, watch)
        return self._inner.fetch(entry.name, target, watch=watch, read_only=read_only)

    def _placed(
        self, entry: Entry, *, target: Path, watch: Watch, read_only: bool
    ) -> Transfer | None:
        """Give the job that version from the cache; None if it is not there."""
        with self._cache.use(self._digest(entry)) as cached:
            if cached is None:
                return None
            try:
                place(cached, target, watch, read_only=read_only)
            except OSError as exc:
                if not cached.is_intact():
                    return None
                raise from_os_error(exc, f"placing {entry.name!r} from the input cache") from exc
        return Transfer(cached.size, 0.0, cached.checksum, entry.version, cached=cached.size)

    def _download(self, entry: Entry, watch: Watch) -> Entry | None:
        """Bring the file into the cache; which version it came to be, or None: it cannot hold it.

        Raises what the fetch raises.
        """
        with self._cache.room(entry.size) as room:
            if room is None:
                return None
            part = watch.part()
            try:
                fetched = self._inner.fetch(entry.name, room.path, watch=part)
                if fetched.version is None:
                    return None
                kept = Entry(entry.name, fetched.bytes, fetched.version)
                self._cache.keep(self._digest(kept), room, fetched.checksum)
            except (StorageError, OSError) as exc:
                if not _is_ours(exc):
                    raise
                log.warning("the input cache cannot hold %r: %s", entry.name, exc)
                part.forget()
                return None
        return kept

    def _digest(self, entry: Entry) -> str:
        return cache_digest(self._url, entry.name, entry.version or "")


def _is_ours(exc: BaseException | None) -> bool:
    """Whether it is the cache's disk that failed, not the store."""
    while exc is not None and not isinstance(exc, OSError):
        exc = exc.__cause__
    return exc is not None and exc.errno in _CANNOT_HOLD


def _entry(found: StoredObject) -> Entry:
    return Entry(found.name, found.size, found.version)
