"""Putting a file of ours among a job's files, without a copy where the file system can do that."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from storage_backends.directories.copying import copy_file, make_directory
from storage_backends.paths import temporary_beside


def place_file(source: Path, target: Path, *, within: Path) -> None:
    """Have `target` be what the file `source`, which lies in `within`, is; makes its parents.

    Both may be one file afterwards: `source` is not to be written again, only removed. `target`
    appears by a rename. Raises OSError and StorageError.
    """
    # One that has a second name already was placed elsewhere: those two must stay independent.
    if source.lstat().st_nlink > 1 or not _linked(source, target):
        copy_file(source, target, within=within)


def _linked(source: Path, target: Path) -> bool:
    make_directory(target.parent)
    temporary = temporary_beside(target)
    try:
        os.link(source, temporary, follow_symlinks=False)
    except OSError:
        return False  # another file system, or one that has no links: a copy says what is wrong
    try:
        temporary.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    return True
