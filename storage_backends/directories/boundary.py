"""Opening what lies below a directory, and nothing else.

Each step goes from a directory's descriptor to one name in it, without following a symlink. So
whatever a task swaps for a symlink meanwhile, nothing outside the boundary is opened. A symlink is
followed by resolving it first, looking where it leads, and going there in such steps.

The boundary (`within`) is given with its own symlinks resolved.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

from storage_backends.errors import StorageDeniedError, StorageNotFoundError

_STEP = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
#: What is said of a symlink where none is followed.
_IS_LINK = {errno.ELOOP, errno.ENOTDIR}


def open_inside(path: Path, within: Path) -> int:
    """A descriptor that reads the regular file `path`, whose real place is below `within`.

    A fifo or device is not even opened. Raises OSError, StorageDeniedError and
    StorageNotFoundError.
    """

    def open_in(directory: int, name: str) -> int:
        # Looked at first: opening a device may do things.
        require_regular(os.lstat(name, dir_fd=directory).st_mode, str(path))
        return open_regular(directory, name, str(path))

    return _opened(path, within, open_in)


def open_directory(path: Path, within: Path) -> int:
    """A descriptor of the directory `path`, whose real place is below `within`, or is it.

    Raises what `open_inside` raises.
    """
    try:
        return _opened(
            path, within, lambda directory, name: os.open(name, _DIRECTORY, dir_fd=directory)
        )
    except NotADirectoryError as exc:
        message = f"{path}/ is not a directory: a name that ends in '/' is a tree"
        raise StorageNotFoundError(message) from exc


def open_parent(path: Path, within: Path) -> int:
    """A descriptor, good for looking up names only, of the directory that holds the real `path`."""
    return _descend(within, path.relative_to(within).parts[:-1])


def open_regular(directory: int, name: str, shown: str) -> int:
    """A descriptor that reads the regular file `name` in `directory`; `shown` is for errors."""
    descriptor = os.open(name, _FILE, dir_fd=directory)
    try:
        require_regular(os.fstat(descriptor).st_mode, shown)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def open_subdirectory(directory: int, name: str) -> int:
    """A descriptor of the directory `name` in `directory`, which is no symlink."""
    return os.open(name, _DIRECTORY, dir_fd=directory)


def real_inside(path: Path, within: Path) -> Path:
    """`path` with all symlinks resolved, below `within` or `within` itself."""
    try:
        real = path.resolve(strict=True)
    except RuntimeError as exc:  # Python before 3.13 says so of a loop of links
        raise StorageDeniedError(f"{path} is a loop of symbolic links") from exc
    except OSError as exc:
        if exc.errno == errno.ELOOP:
            raise StorageDeniedError(f"{path} is a loop of symbolic links") from exc
        if exc.errno == errno.ENOENT and path.is_symlink():
            raise StorageDeniedError(f"{path} is a symbolic link to nowhere") from exc
        raise
    if not real.is_relative_to(within):
        raise StorageDeniedError(f"{path} leads outside {within} by a symbolic link")
    return real


def require_regular(mode: int, shown: str) -> None:
    """Raise StorageDeniedError and the like unless `mode` is that of a regular file."""
    if stat.S_ISREG(mode):
        return
    if stat.S_ISLNK(mode):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), shown)
    if stat.S_ISDIR(mode):
        name = os.path.basename(shown)  # noqa: PTH119 - a path's text, as the callers have it
        raise StorageNotFoundError(f"{shown} is a directory: write '{name}/' for a tree")
    raise StorageDeniedError(f"{shown} is not a regular file: only files and directories are moved")


def _opened(path: Path, within: Path, open_in: Callable[[int, str], int]) -> int:
    if path.is_relative_to(within) and ".." not in path.parts:
        try:
            return _open_parts(within, path.relative_to(within).parts, open_in)
        except OSError as exc:
            if exc.errno not in _IS_LINK:
                raise
    # A symlink, on the way or at the end; or no such thing, which this says better.
    real = real_inside(path, within)
    return _open_parts(within, real.relative_to(within).parts, open_in)


def _open_parts(within: Path, parts: Sequence[str], open_in: Callable[[int, str], int]) -> int:
    directory = _descend(within, parts[:-1])
    try:
        return open_in(directory, parts[-1] if parts else ".")
    finally:
        os.close(directory)


def _descend(within: Path, parts: Sequence[str]) -> int:
    here = os.open(within, _STEP)
    for part in parts:
        try:
            below = os.open(part, _STEP, dir_fd=here)
        finally:
            os.close(here)
        here = below
    return here
