"""Bringing objects to files: whole and compared, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from storage_backends.errors import (
    StorageChangedError,
    StorageCorruptError,
    StorageTransientError,
    naming,
)
from storage_backends.objects.landing import Part, compare, landing
from storage_backends.objects.listing import Tree
from storage_backends.objects.store import ObjectStore, StoredObject
from storage_backends.pool import TransferPool
from storage_backends.retrying import Retry
from storage_backends.watch import Watch


class Downloads:
    """Brings objects of one store. Safe for concurrent use."""

    def __init__(self, store: ObjectStore, pool: TransferPool, retry: Retry) -> None:
        self._store = store
        self._pool = pool
        self._retry = retry

    def file(self, name: str, target: Path, watch: Watch) -> StoredObject:
        """Bring the file `name` to `target`, making its parents; returns what was brought."""
        with naming("fetching", name, f"{self._store.url}/{name}"):
            target.parent.mkdir(parents=True, exist_ok=True)
            return self._bring(name, None, target, watch)

    def tree(self, name: str, tree: Tree, target: Path, watch: Watch) -> list[StoredObject]:
        """Bring the tree `name` below `target`; returns its files as they were brought.

        Where `target` did not exist, nothing is left of it after an error.
        """
        with _undone_on_error(tree, target):
            with naming("fetching", name, f"{self._store.url}/{name}"):
                target.mkdir(parents=True, exist_ok=True)
                for directory in tree.directories:
                    (target / directory).mkdir(exist_ok=True)
            part = watch.part()
            calls = [
                partial(self._listed, found, target / file, part)
                for file, found in tree.files.items()
            ]
            return self._pool.run(calls, part.stop)

    def _listed(self, found: StoredObject, target: Path, watch: Watch) -> StoredObject:
        with naming("fetching", found.name, f"{self._store.url}/{found.name}"):
            return self._bring(found.name, found, target, watch)

    def _bring(
        self, name: str, known: StoredObject | None, target: Path, watch: Watch
    ) -> StoredObject:
        found = known

        def attempt(part: Watch) -> StoredObject:
            nonlocal found
            part.check()
            found = found or self._store.stat(name)
            try:
                self._land(found, target, part)
            except StorageChangedError as exc:
                found = None  # the next attempt brings what is there then
                raise StorageTransientError(str(exc)) from exc
            except (StorageCorruptError, StorageTransientError):
                found = None  # it may have been replaced without the store's noticing
                raise
            return found

        return self._retry.call(attempt, watch)

    def _land(self, found: StoredObject, target: Path, watch: Watch) -> None:
        """One attempt; but each range of a large object has attempts of its own."""
        with landing(target) as temporary:
            spans = self._spans(found)
            if len(spans) > 1:
                part = watch.part()
                attempts = [partial(self._range, found, temporary, span) for span in spans]
                calls = [partial(self._retry.call, attempt, part) for attempt in attempts]
                compare(found, temporary, self._pool.run(calls, part.stop))
            else:
                compare(found, temporary, [self._range(found, temporary, spans[0], watch)])
            watch.check()

    def _spans(self, found: StoredObject) -> list[tuple[int, int]]:
        step = self._store.range_size or max(found.size, 1)
        starts = range(0, max(found.size, 1), step)
        return [(start, min(start + step, found.size)) for start in starts]

    def _range(
        self, found: StoredObject, temporary: Path, span: tuple[int, int], watch: Watch
    ) -> Part:
        start, end = span
        watch.check()
        with Part(temporary, start, found.checksum) as part:
            if start < end:
                self._store.read(found, start, end, part, watch)
            if part.written != end - start:
                raise StorageCorruptError(
                    f"{part.written} bytes came instead of {end - start} from byte {start} on"
                )
            return part


@contextmanager
def _undone_on_error(tree: Tree, target: Path) -> Iterator[None]:
    """Leave nothing of `tree` behind after an error, unless `target` was there before."""
    new = not target.exists()
    try:
        yield
    except BaseException:
        if new:
            _undo(tree, target)
        raise


def _undo(tree: Tree, target: Path) -> None:
    # What others have put there meanwhile stays, and so do the directories that hold it.
    for name in tree.files:
        (target / name).unlink(missing_ok=True)
    for name in [*reversed(tree.directories), ""]:
        try:
            (target / name).rmdir()
        except OSError:
            continue
