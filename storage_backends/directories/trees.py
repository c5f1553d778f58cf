"""Copying a tree between directories: beside its place first, then into it by renames."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

from storage_backends.directories.boundary import open_inside, real_inside
from storage_backends.directories.copying import (
    closing,
    copy_contents,
    copy_file,
    create,
    make_directory,
)
from storage_backends.directories.scanning import Found, scan
from storage_backends.errors import StorageDeniedError, StorageNotFoundError
from storage_backends.paths import is_tree, temporary_beside
from storage_backends.pool import TransferPool
from storage_backends.watch import Watch

#: Files after which the pace of a tree is judged.
_FIRST_FILES = 16
#: Bytes; larger files take their time anywhere.
_SMALL = 1 << 18
#: What a rename says of a directory where there is something already.
_TAKEN = {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR, errno.EBUSY}


@dataclass(frozen=True, slots=True)
class TreeCopier:
    """Copies trees. Immutable, so safe for concurrent use."""

    pool: TransferPool
    #: Seconds for a small file; where they take longer, many threads copy them. A local disk takes
    #: a tenth of this, and threads do not speed it up; a server's round trips are hidden by them.
    patience: float = 0.002

    def copy(
        self, source: Path, target: Path, *, within: Path, inside: Path | None, watch: Watch
    ) -> int:
        """Copy the tree `source`, which lies in `within`, to `target`; returns bytes.

        All of it is copied before the first file appears. A new `target` appears at once; in one
        that exists, files are replaced one by one, and others stay. With `inside`, a symlink in
        `target` that leads out of there is refused. Raises OSError and StorageError.
        """
        parts = scan(source, within)
        first = next(parts, None)
        if first is None:
            raise StorageNotFoundError("the tree holds nothing")
        exists = target.is_dir()
        make_directory(target if exists else target.parent)
        # Inside a target that exists: it may be a file system of its own.
        temporary = temporary_beside(target / "part" if exists else target)
        temporary.mkdir()
        try:
            copied = self._copy_parts(chain([first], parts), temporary, within, watch)
            watch.check()
            _move(temporary, target, inside)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return copied

    def _copy_parts(self, parts: Iterable[Found], target: Path, within: Path, watch: Watch) -> int:
        started, files, copied = time.monotonic(), 0, 0
        left: list[tuple[str, str]] = []
        for found in parts:
            found.check_name()
            place = f"{target}/{found.name}"
            if is_tree(found.name):
                Path(place).mkdir()
            elif files < _FIRST_FILES or not self._is_slow(started, files, copied):
                copied += _copy(found.open(), found.path, place, watch)
                files += 1
            else:
                left.append((found.path, place))
        part = watch.part()
        calls = [partial(_copy_inside, path, place, within, part) for path, place in left]
        return copied + sum(self.pool.run(calls, part.stop))

    def _is_slow(self, started: float, files: int, copied: int) -> bool:
        return copied < files * _SMALL and time.monotonic() - started > files * self.patience


def _copy_inside(path: str, place: str, within: Path, watch: Watch) -> int:
    return _copy(open_inside(Path(path), within), path, place, watch)


def _copy(descriptor: int, path: str, place: str, watch: Watch) -> int:
    """Copy the open file `descriptor`, and close it."""
    with closing(descriptor) as reader:
        watch.check()
        mode = os.fstat(reader).st_mode & 0o777
        with closing(create(place, mode)) as writer:
            return copy_contents(reader, writer, path, watch).st_size


def _move(source: Path, target: Path, inside: Path | None) -> None:
    """Move the directory `source` to `target`, into what is there already."""
    try:
        source.rename(target)
    except OSError as exc:
        if exc.errno == errno.EXDEV:
            target.mkdir(exist_ok=True)
        elif exc.errno not in _TAKEN:
            raise
    else:
        return
    if inside is not None and target.is_symlink():
        target = real_inside(target, inside)
    if not target.is_dir():
        raise StorageDeniedError(f"{target} is a file: it cannot become a directory")
    with os.scandir(source) as entries:
        found = list(entries)
    for entry in found:
        if entry.is_dir():
            _move(Path(entry.path), target / entry.name, inside)
        else:
            _move_file(Path(entry.path), target / entry.name)


def _move_file(source: Path, target: Path) -> None:
    try:
        source.replace(target)
    except IsADirectoryError as exc:
        raise StorageDeniedError(f"{target} is a directory: it cannot become a file") from exc
    except OSError as exc:
        if exc.errno != errno.EXDEV:
            raise
        # A directory within the target is a file system of its own.
        copy_file(source, target, within=source.parent)
