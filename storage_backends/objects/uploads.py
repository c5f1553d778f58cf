"""Bringing files to objects: all refusals are found before the first byte leaves."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from storage_backends.directories.boundary import open_inside
from storage_backends.directories.scanning import walk
from storage_backends.errors import StorageDeniedError, StorageNotFoundError, naming
from storage_backends.objects.listing import parents
from storage_backends.objects.store import ObjectStore, StoredObject
from storage_backends.paths import is_tree
from storage_backends.pool import TransferPool
from storage_backends.retrying import Retry
from storage_backends.watch import Watch

log = logging.getLogger(__name__)

#: Directories remembered as made; a process that has made more begins anew.
_REMEMBERED = 100_000


@dataclass(frozen=True, slots=True)
class LocalTree:
    """A directory to be stored: names relative to it, each inspected and found fit."""

    directories: tuple[str, ...]
    #: Directories that hold nothing.
    empty: frozenset[str]
    files: Mapping[str, Path]


def inspect(tree: Path, boundary: Path) -> LocalTree:
    """What is to be stored of `tree`. Raises what `walk` and `open_inside` raise."""
    directories: list[str] = []
    files: dict[str, Path] = {}
    for name, path in walk(tree, boundary):
        if is_tree(name):
            directories.append(name)
        else:
            os.close(open_inside(path, boundary))
            files[name] = path
    if not directories and not files:
        raise StorageNotFoundError("the tree holds nothing")
    holding = {above for name in [*directories, *files] for above in parents(name)[-1:]}
    return LocalTree(tuple(directories), frozenset(directories) - holding, files)


class Uploads:
    """Brings files to one store. Safe for concurrent use."""

    def __init__(self, store: ObjectStore, pool: TransferPool, retry: Retry) -> None:
        self._store = store
        self._pool = pool
        self._retry = retry
        self._lock = threading.Lock()  # guards _made
        self._made: set[str] = set()

    def file(self, source: Path, name: str, boundary: Path, watch: Watch) -> StoredObject:
        """Store the file `source`, which lies in `boundary`, as `name`."""
        with naming("storing", name, self._url(name)):
            os.close(open_inside(source, boundary))
        self._make_directories(parents(name), (), watch)
        return self._upload(source, name, boundary, None, watch)

    def tree(self, found: LocalTree, name: str, boundary: Path, watch: Watch) -> list[StoredObject]:
        """Store what `inspect` has found in `boundary` as the tree `name`."""
        listed = self._listed(name, watch)
        above = [*parents(name), name, *(name + part for part in found.directories)]
        self._make_directories(above, [name + part for part in found.empty], watch)
        part = watch.part()
        calls = [
            partial(self._upload, path, name + file, boundary, listed, part)
            for file, path in found.files.items()
        ]
        return self._pool.run(calls, part.stop)

    def forget(self, name: str) -> None:
        """`name` is being removed: its directories may have to be made again."""
        with self._lock:
            self._made = {made for made in self._made if not made.startswith(name)}

    def _upload(
        self,
        source: Path,
        name: str,
        boundary: Path,
        listed: Mapping[str, StoredObject] | None,
        watch: Watch,
    ) -> StoredObject:
        upload = self._store.upload(name, listed)
        with naming("storing", name, self._url(name)):
            descriptor = open_inside(source, boundary)
            with os.fdopen(descriptor, "rb", buffering=0) as opened:
                size = os.fstat(descriptor).st_size

                def attempt(part: Watch) -> StoredObject:
                    part.check()
                    opened.seek(0)
                    return upload(opened, size, part)

                return self._retry.call(attempt, watch)

    def _listed(self, name: str, watch: Watch) -> Mapping[str, StoredObject] | None:
        if not self._store.wants_listing:
            return None
        with naming("listing", name, self._url(name)):
            objects = self._retry.call(lambda _: list(self._store.list(name)), watch)
        return {found.name: found for found in objects}

    def _make_directories(self, above: Iterable[str], empty: Sequence[str], watch: Watch) -> None:
        """Make `empty` directories, and those `above` files if the store wants that."""
        # Not from memory: somebody may have removed an empty directory meanwhile.
        wanted = dict.fromkeys(empty, True)
        if self._store.wants_directories:
            with self._lock:
                for name in above:
                    if name not in self._made:
                        wanted.setdefault(name, False)
        self._pool.run(
            [partial(self._make_directory, name, needed, watch) for name, needed in wanted.items()]
        )

    def _make_directory(self, name: str, needed: bool, watch: Watch) -> None:
        try:
            with naming("making", name, self._url(name)):
                self._retry.call(lambda _: self._store.make_directory(name), watch)
        except StorageDeniedError as exc:
            if needed:
                raise
            # Who may write only below a prefix can still store files there.
            log.warning("no directory placeholder: %s", exc)
        with self._lock:
            if len(self._made) >= _REMEMBERED:
                self._made.clear()
            self._made.add(name)

    def _url(self, name: str) -> str:
        return f"{self._store.url}/{name}"
