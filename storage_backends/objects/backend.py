"""A storage backend made of the few requests of an `ObjectStore`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

from storage_backends.contract import Entry, StorageBackend, Transfer
from storage_backends.errors import StorageNotFoundError, naming
from storage_backends.objects.downloads import Downloads
from storage_backends.objects.listing import parents, tree_of
from storage_backends.objects.moved import file_moved, tree_moved
from storage_backends.objects.store import ObjectStore, StoredObject
from storage_backends.objects.uploads import Uploads, inspect
from storage_backends.paths import checked_name, is_tree
from storage_backends.pool import TransferPool
from storage_backends.retrying import Retry
from storage_backends.side_by_side import SideBySide
from storage_backends.watch import Watch


class ObjectBackend(SideBySide):
    """Files as objects of `store`, trees as all objects below a prefix.

    Files of a tree, and ranges of a large file, move side by side on `pool`; each is tried again by
    itself as `retry` says.
    """

    def __init__(self, store: ObjectStore, pool: TransferPool, retry: Retry) -> None:
        #: The root, for messages and the cache: ``gs://bucket``.
        self.url = store.url
        self._store = store
        self._pool = pool
        self._retry = retry
        self._downloads = Downloads(store, pool, retry)
        self._uploads = Uploads(store, pool, retry)

    @classmethod
    def open(cls, options: dict[str, Any], pool: TransferPool) -> StorageBackend:
        """Each kind of store has its own way to be opened."""
        raise NotImplementedError

    def close(self) -> None:
        """See the contract."""
        self._store.close()

    def fetch(
        self,
        name: str,
        target: Path,
        *,
        watch: Watch | None = None,
        read_only: bool = False,  # noqa: ARG002 - what lands is nobody else's in any case
    ) -> Transfer:
        """See the contract."""
        started = time.monotonic()
        watch = watch or Watch()
        with self._naming("fetching", name):
            checked_name(name, "name")
        if is_tree(name):
            with self._naming("fetching", name):
                tree = tree_of(name, self._list(name, watch))
            return tree_moved(name, self._downloads.tree(name, tree, target, watch), started)
        try:
            return file_moved(self._downloads.file(name, target, watch), started)
        except StorageNotFoundError as exc:
            if self._is_tree(name, watch):
                raise StorageNotFoundError(f"{exc}; write '{name}/' for a tree") from exc
            raise

    def store(
        self, source: Path, name: str, *, within: Path, watch: Watch | None = None
    ) -> Transfer:
        """See the contract."""
        started = time.monotonic()
        watch = watch or Watch()
        with self._naming("storing", name):
            checked_name(name, "name")
            boundary = within.resolve()
            found = inspect(source, boundary) if is_tree(name) else None
        if found is None:
            return file_moved(self._uploads.file(source, name, boundary, watch), started)
        return tree_moved(name, self._uploads.tree(found, name, boundary, watch), started)

    def entries(self, name: str) -> list[Entry]:
        """See the contract. Lists also what could not be fetched for its name."""
        watch = Watch()
        with self._naming("listing", name):
            if name:
                checked_name(name, "name")
            if name and not is_tree(name):
                found = self._retry.call(lambda _: self._store.stat(name), watch)
                return [Entry(name, found.size, found.version)]
            listed = self._list(name, watch)
            if name and not listed:
                raise StorageNotFoundError("there is no such tree")
        return _entries(name, listed)

    def remove(self, name: str) -> None:
        """See the contract."""
        watch = Watch()
        with self._naming("removing", name):
            checked_name(name, "name")
            self._uploads.forget(name)
            doomed = [f.name for f in self._list(name, watch)] if is_tree(name) else [name]
            # Children first: a store with real directories refuses to delete one that holds some.
            files = [name for name in doomed if not is_tree(name)]
            directories = sorted((name for name in doomed if is_tree(name)), reverse=True)
            self._pool.run([partial(self._delete, name, watch) for name in files])
            for directory in directories:
                self._delete(directory, watch)

    def _delete(self, name: str, watch: Watch) -> None:
        self._retry.call(lambda _: self._store.delete(name), watch)

    def _list(self, prefix: str, watch: Watch) -> list[StoredObject]:
        return self._retry.call(lambda _: list(self._store.list(prefix)), watch)

    def _is_tree(self, name: str, watch: Watch) -> bool:
        with self._naming("listing", f"{name}/"):
            return self._retry.call(
                lambda _: next(iter(self._store.list(f"{name}/")), None) is not None, watch
            )

    def _naming(self, doing: str, name: str) -> AbstractContextManager[None]:
        return naming(doing, name, f"{self._store.url}/{name}")


def _entries(name: str, listed: Sequence[StoredObject]) -> list[Entry]:
    files = [Entry(f.name, f.size, f.version) for f in listed if not is_tree(f.name)]
    directories = {above for f in listed for above in parents(f.name)}
    directories |= {f.name for f in listed if is_tree(f.name)}
    below = (Entry(directory, 0) for directory in directories if len(directory) > len(name))
    return sorted([*files, *below], key=lambda entry: entry.name)
