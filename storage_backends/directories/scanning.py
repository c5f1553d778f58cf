"""Walking trees without leaving a boundary."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from storage_backends.directories.boundary import (
    open_directory,
    open_parent,
    open_regular,
    open_subdirectory,
    real_inside,
    require_regular,
)
from storage_backends.errors import StorageDeniedError
from storage_backends.paths import PathError, checked_name, is_temporary

#: Directories below each other: as many descriptors are open at a time.
_DEEPEST = 128


class Found(NamedTuple):
    """A file or directory of a tree. `directory` is good until the next one is asked for."""

    #: Relative to the tree; that of a directory ends in ``/``.
    name: str
    #: For messages, and for `open_inside`.
    path: str
    #: The descriptor of the directory that really holds it.
    directory: int
    #: Its real name in there; no symlink.
    base: str

    def open(self) -> int:
        """A descriptor that reads the file."""
        return open_regular(self.directory, self.base, self.path)

    def stat(self) -> os.stat_result:
        """Facts of the file."""
        return os.lstat(self.base, dir_fd=self.directory)

    def check_name(self) -> None:
        """Raise StorageDeniedError for a name that a job could not give to a file."""
        try:
            checked_name(self.name, "name")
        except PathError as exc:
            raise StorageDeniedError(f"{exc}; rename it or leave it out") from exc


def walk(tree: Path, within: Path) -> Iterator[tuple[str, Path]]:
    """Every directory (name ends in ``/``) and file below `tree`, parents first, by sorted name.

    Yields the name relative to `tree` and the path, for `open_inside`, which may still refuse it if
    it has changed meanwhile. Names are checked ones (`paths.checked_name`). Symlinks are followed
    while they stay below `within`; one that leads outside, nowhere, or back to a directory above
    itself is refused, and so is what is neither file nor directory. What transfers under way have
    not put in place yet is left out. Raises OSError, StorageDeniedError and StorageNotFoundError.
    """
    for found in scan(tree, within):
        found.check_name()
        yield found.name, Path(found.path)


def scan(tree: Path, within: Path) -> Iterator[Found]:
    """What `walk` finds, also under names that a job could not give to a file."""
    root = open_directory(tree, within)
    try:
        yield from _scan(root, str(tree), "", within, (_identity(root),))
    finally:
        os.close(root)


_Above = tuple[tuple[int, int], ...]


def _scan(directory: int, path: str, prefix: str, within: Path, above: _Above) -> Iterator[Found]:
    if len(above) > _DEEPEST:
        raise StorageDeniedError(f"{path} lies more than {_DEEPEST} directories deep in its tree")
    with os.scandir(directory) as entries:
        entries_by_name = sorted(entries, key=lambda entry: entry.name)
    for entry in entries_by_name:
        base, shown = entry.name, f"{path}/{entry.name}"
        if is_temporary(base):
            continue
        if entry.is_symlink():
            yield from _follow(shown, prefix + base, within, above)
        elif entry.is_dir(follow_symlinks=False):
            yield Found(f"{prefix}{base}/", shown, directory, base)
            below = open_subdirectory(directory, base)
            yield from _below(below, shown, f"{prefix}{base}/", within, above)
        elif entry.is_file(follow_symlinks=False):
            yield Found(prefix + base, shown, directory, base)
        else:
            require_regular(os.lstat(base, dir_fd=directory).st_mode, shown)


def _follow(shown: str, name: str, within: Path, above: _Above) -> Iterator[Found]:
    """What the symlink `shown` leads to."""
    real = real_inside(Path(shown), within)
    parent = open_parent(real, within)
    try:
        if not real.is_dir():
            found = Found(name, shown, parent, real.name)
            require_regular(found.stat().st_mode, shown)
            yield found
            return
        yield Found(f"{name}/", shown, parent, real.name)
        below = open_directory(real, within)
        yield from _below(below, shown, f"{name}/", within, above)
    finally:
        os.close(parent)


def _below(directory: int, path: str, prefix: str, within: Path, above: _Above) -> Iterator[Found]:
    """Scan `directory`, and close it."""
    try:
        identity = _identity(directory)
        if identity in above:
            raise StorageDeniedError(f"{path} is a symbolic link to a directory above itself")
        yield from _scan(directory, path, prefix, within, (*above, identity))
    finally:
        os.close(directory)


def _identity(directory: int) -> tuple[int, int]:
    facts = os.fstat(directory)
    return facts.st_dev, facts.st_ino
