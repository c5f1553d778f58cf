"""What `local` and `nfs` share: a directory as a store."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from messaging.errors import UsageError
from storage_backends.contract import Entry, StorageBackend, Transfer
from storage_backends.copying import copy_file, walk
from storage_backends.errors import (
    StorageDeniedError,
    StorageError,
    StorageNotFoundError,
    from_os_error,
)
from storage_backends.paths import PathError, below, is_tree


class DirectoryBackend(StorageBackend):
    """Files below one directory, the option ``workdir``. Holds no state but that path."""

    name: ClassVar[str]

    def __init__(self, workdir: Path) -> None:
        self.workdir = workdir

    @classmethod
    def open(cls, options: dict[str, Any]) -> StorageBackend:
        """Needs ``workdir``: an absolute path of a directory that exists."""
        workdir = options.get("workdir")
        wrong = f"storage backend {cls.name!r} has workdir {workdir!r}"
        if not isinstance(workdir, str) or not workdir.startswith("/"):
            raise UsageError(f"{wrong}: expected the absolute path of a directory")
        if not Path(workdir).is_dir():
            # Never made here: a missing directory is mostly a file system that is not mounted.
            raise UsageError(f"{wrong}, which is no directory here: make it, or mount it")
        return cls(Path(workdir))

    def fetch(self, name: str, target: Path) -> Transfer:
        """See the contract. Compares sizes; there is no checksum."""
        started = time.monotonic()
        with self._errors("fetching", name):
            copied = _copy(self._path(name), name, lambda part: target / part, self._root())
        return Transfer(copied, time.monotonic() - started)

    def store(self, source: Path, name: str, *, within: Path) -> Transfer:
        """See the contract. A symlink in the store that leads out of ``workdir`` is refused too."""
        started = time.monotonic()
        with self._errors("storing", name):
            copied = _copy(source, name, lambda part: self._path(name + part), within.resolve())
        return Transfer(copied, time.monotonic() - started)

    def entries(self, name: str) -> list[Entry]:
        """See the contract."""
        with self._errors("listing", name or "/"):
            path = self._path(name)
            if name and not is_tree(name):
                return [Entry(name, path.stat().st_size)]
            return [
                Entry(name + part, 0 if is_tree(part) else below_path.stat().st_size)
                for part, below_path in walk(path, self._root())
            ]

    def remove(self, name: str) -> None:
        """See the contract."""
        with self._errors("removing", name):
            path = self._path(name)
            if not is_tree(name):
                path.unlink(missing_ok=True)
            elif path.exists():
                shutil.rmtree(path)

    def _root(self) -> Path:
        return self.workdir.resolve()

    def _path(self, name: str) -> Path:
        return below(self.workdir, name, "path") if name else self.workdir

    @contextmanager
    def _errors(self, doing: str, name: str) -> Iterator[None]:
        doing = f"{doing} {'tree' if is_tree(name) else 'file'} {name!r} ({self.workdir})"
        try:
            yield
        except PathError as exc:
            raise StorageDeniedError(f"{doing}: {exc}") from exc
        except StorageError as exc:
            raise type(exc)(f"{doing}: {exc}") from exc
        except OSError as exc:
            raise from_os_error(exc, doing) from exc


def _copy(source: Path, name: str, target: Callable[[str], Path], within: Path) -> int:
    """Copy a file, or a tree part by part to `target` of each part; returns bytes."""
    if not is_tree(name):
        return copy_file(source, target(""), within=within)
    parts = list(walk(source, within))
    if not parts:
        raise StorageNotFoundError("the tree holds nothing")
    copied = 0
    for part, path in parts:
        if is_tree(part):
            target(part).mkdir(parents=True, exist_ok=True)
        else:
            copied += copy_file(path, target(part), within=within)
    return copied
