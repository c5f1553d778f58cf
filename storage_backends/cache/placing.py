"""Giving a job a cached file: by reflink, by hard link, else by copy."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from storage_backends.cache.files import CachedFile
from storage_backends.objects.landing import landing
from storage_backends.watch import Watch

#: The ioctl that shares all blocks of a file with another one; Linux' FICLONE.
_FICLONE = 0x40049409
#: Bytes between two looks at the watch.
_BLOCK = 1 << 26


def place(cached: CachedFile, target: Path, watch: Watch, *, read_only: bool) -> None:
    """Make `target` the content of `cached`, making its parents; lands by a rename.

    It has the permissions and time of a fresh download, except that one placed for reading only
    may be a hard link, and then lacks the permission to write. Raises OSError.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with landing(target) as temporary:
        if _cloned(cached, temporary) or (read_only and _linked(cached, temporary)):
            watch.moved(cached.size)
        else:
            _copy(cached, temporary, watch)
    # A rename to another link of the same file does nothing.
    temporary.unlink(missing_ok=True)


def _cloned(cached: CachedFile, target: Path) -> bool:
    with cached.path.open("rb") as source, target.open("wb") as copy:
        try:
            fcntl.ioctl(copy.fileno(), _FICLONE, source.fileno())
        except OSError:  # most file systems cannot
            return False
        _finish(cached, copy.fileno())
    return True


def _linked(cached: CachedFile, target: Path) -> bool:
    target.unlink()
    with contextlib.suppress(OSError):  # another file system, or too many links
        os.link(cached.path, target)
        return True
    return False


def _copy(cached: CachedFile, target: Path, watch: Watch) -> None:
    with cached.path.open("rb") as source, target.open("wb") as copy:
        left = cached.size
        while left:
            count = _copy_block(source.fileno(), copy.fileno(), min(left, _BLOCK))
            if not count:
                raise OSError(f"{cached.path} is shorter than it was")
            left -= count
            watch.moved(count)
        _finish(cached, copy.fileno())


def _copy_block(source: int, target: int, size: int) -> int:
    with contextlib.suppress(OSError):
        # In the kernel, where the two file systems can do it between them.
        if count := os.copy_file_range(source, target, size):
            return count
    return os.sendfile(target, source, None, size)


def _finish(cached: CachedFile, target: int) -> None:
    os.fchmod(target, cached.mode)
    os.utime(target, ns=(cached.mtime_ns, cached.mtime_ns))
