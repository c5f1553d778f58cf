"""What `local` and `nfs` share: a directory as a store."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from messaging.errors import UsageError
from storage_backends.contract import Entry, StorageBackend, Transfer
from storage_backends.directories.boundary import open_inside
from storage_backends.directories.copying import closing, copy_file, file_version
from storage_backends.directories.scanning import Found, scan
from storage_backends.directories.trees import TreeCopier
from storage_backends.errors import from_os_error, naming
from storage_backends.paths import below, checked_name, is_tree
from storage_backends.pool import TransferPool
from storage_backends.retrying import Retry
from storage_backends.watch import Watch

#: What a server that is away for a while, or a file that was replaced on it, looks like.
_PASSING = {
    errno.ESTALE,
    errno.EIO,
    errno.EREMOTEIO,
    errno.ETIMEDOUT,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
    errno.ENOTCONN,
    errno.ECONNRESET,
    errno.ECONNABORTED,
    errno.EAGAIN,
}


class DirectoryBackend(StorageBackend):
    """Files below one directory, the option ``workdir``. Holds no state but that path.

    There are no checksums: sizes are compared, and that a file stayed the same while it was read.
    """

    name: ClassVar[str]

    def __init__(self, workdir: Path, pool: TransferPool, retry: Retry) -> None:
        self.workdir = workdir
        self._retry = retry
        self._trees = TreeCopier(pool)

    @classmethod
    def open(cls, options: dict[str, Any], pool: TransferPool) -> StorageBackend:
        """Needs ``workdir``: an absolute path of a directory that exists."""
        workdir = options.get("workdir")
        wrong = f"storage backend {cls.name!r} has workdir {workdir!r}"
        if not isinstance(workdir, str) or not workdir.startswith("/"):
            raise UsageError(f"{wrong}: expected the absolute path of a directory")
        if not Path(workdir).is_dir():
            # Never made here: a missing directory is mostly a file system that is not mounted.
            raise UsageError(f"{wrong}, which is no directory here: make it, or mount it")
        return cls(Path(workdir), pool, Retry.of(options))

    def fetch(
        self,
        name: str,
        target: Path,
        *,
        watch: Watch | None = None,
        read_only: bool = False,  # noqa: ARG002 - always a copy: others may write to the store
    ) -> Transfer:
        """See the contract."""

        def copy(watch: Watch) -> Transfer:
            source, root = self._place(name), self._root()
            if is_tree(name):
                return self._copy_tree(source, target, within=root, inside=None, watch=watch)
            copied = copy_file(source, target, within=root, watch=watch)
            return Transfer(copied.bytes, 0.0, version=copied.source)

        return self._transfer("fetching", name, copy, watch)

    def store(
        self, source: Path, name: str, *, within: Path, watch: Watch | None = None
    ) -> Transfer:
        """See the contract. A symlink in the store that leads out of ``workdir`` is refused too."""

        def copy(watch: Watch) -> Transfer:
            target, boundary = self._real_place(name), within.resolve()
            if is_tree(name):
                inside = self._root()
                return self._copy_tree(source, target, within=boundary, inside=inside, watch=watch)
            copied = copy_file(source, target, within=boundary, watch=watch)
            return Transfer(copied.bytes, 0.0, version=copied.target)

        return self._transfer("storing", name, copy, watch)

    def entries(self, name: str) -> list[Entry]:
        """See the contract. Lists also what could not be fetched for its name."""
        with self._naming("listing", name):
            if name and not is_tree(name):
                with closing(open_inside(self._place(name), self._root())) as file:
                    return [_entry(name, os.fstat(file))]
            place = self._place(name) if name else self._root()
            listed = [_listed(name, found) for found in scan(place, self._root())]
            return sorted(listed, key=lambda entry: entry.name)

    def remove(self, name: str) -> None:
        """See the contract. A symlink is removed, not what it leads to."""
        with self._naming("removing", name):
            parent, _, base = checked_name(name, "name").rstrip("/").rpartition("/")
            place = below(self.workdir, parent, "name") / base
            if is_tree(name) and not place.is_symlink():
                _remove_tree(place)
            else:
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    place.unlink()

    def _copy_tree(
        self, source: Path, target: Path, *, within: Path, inside: Path | None, watch: Watch
    ) -> Transfer:
        copied = self._trees.copy(source, target, within=within, inside=inside, watch=watch)
        return Transfer(copied, 0.0)

    def _transfer(
        self, doing: str, name: str, copy: Callable[[Watch], Transfer], watch: Watch | None
    ) -> Transfer:
        started = time.monotonic()
        with self._naming(doing, name):
            moved = self._retry.call(lambda part: _tried(copy, part), watch or Watch())
        return replace(moved, seconds=time.monotonic() - started)

    def _naming(self, doing: str, name: str) -> AbstractContextManager[None]:
        return naming(doing, name, str(self.workdir))

    def _root(self) -> Path:
        return self.workdir.resolve()

    def _place(self, name: str) -> Path:
        """Where `name` is looked for: symlinks are not followed yet."""
        return self._root() / checked_name(name, "name")

    def _real_place(self, name: str) -> Path:
        """Where `name` is put: symlinks are followed, as long as they stay below the root."""
        return below(self.workdir, checked_name(name, "name"), "name")


def _tried(copy: Callable[[Watch], Transfer], watch: Watch) -> Transfer:
    """One attempt; raises StorageTransientError for what may pass soon."""
    try:
        watch.check()
        return copy(watch)
    except OSError as exc:
        if exc.errno not in _PASSING:
            raise
        raise from_os_error(exc, str(exc.filename or "its directory")) from exc


def _listed(tree: str, found: Found) -> Entry:
    name = tree + found.name
    return Entry(name, 0) if is_tree(name) else _entry(name, found.stat())


def _entry(name: str, facts: os.stat_result) -> Entry:
    return Entry(name, facts.st_size, file_version(facts))


def _remove_tree(place: Path) -> None:
    while place.is_dir():
        # Somebody else may be removing it too: what is gone already is no reason to stop.
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(place)
