"""Copying a file between directories, whole or not at all.

The boundary (`within`) is given with its symlinks resolved.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from storage_backends.directories.boundary import open_inside
from storage_backends.errors import StorageCorruptError, StorageDeniedError
from storage_backends.paths import temporary_beside
from storage_backends.watch import Watch

#: Small enough for a processor's cache: larger blocks are slower.
_BLOCK = 1 << 17
#: Bytes between two looks at the watch where the kernel copies.
_STRIDE = 1 << 26
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
#: For the facts of a file, also after a rename; needs no permission for it.
_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
#: What copy_file_range says where the two file systems cannot do it between them.
_NO_RANGE_COPY = {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM}


class Copied(NamedTuple):
    """What `copy_file` has moved."""

    bytes: int
    #: Versions, by `file_version`, of the file that was read and of the one that was made.
    source: str
    target: str


def file_version(facts: os.stat_result) -> str:
    """What differs when a file's content differs: also after a replacement of equal size and time.

    It may differ although the content is the same, after a change of owner or name.
    """
    times = f"{facts.st_mtime_ns:x}-{facts.st_ctime_ns:x}"
    return f"{times}-{facts.st_size:x}-{facts.st_ino:x}"


def copy_file(source: Path, target: Path, *, within: Path, watch: Watch | None = None) -> Copied:
    """Copy a regular file that lies in `within` to `target`, making its parents.

    `target` appears by a rename in its own directory, so this works across file systems. Keeps
    permission bits and modification time. Raises OSError and StorageError.
    """
    watch = watch or Watch()
    with closing(open_inside(source, within)) as reader:
        make_directory(target.parent)
        temporary = temporary_beside(target)
        try:
            with closing(create(temporary)) as writer:
                facts = copy_contents(reader, writer, str(source), watch)
            # Closed before: NFS tells only then that it could not keep what was written.
            watch.check()
            with closing(os.open(temporary, _LOOK)) as made:
                temporary.replace(target)
                version = file_version(os.fstat(made))
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    return Copied(facts.st_size, file_version(facts), version)


def copy_contents(reader: int, writer: int, shown: str, watch: Watch) -> os.stat_result:
    """Make the new file `writer` what the file `reader` is; the facts of that.

    Raises StorageCorruptError when it changed meanwhile; `shown` is its name.
    """
    facts = os.fstat(reader)
    copied = _copy_in_kernel(reader, writer, watch) if facts.st_size > _BLOCK else 0
    # Also the whole of files that the kernel finds empty though they are not (some FUSE systems).
    block = memoryview(bytearray(min(facts.st_size, _BLOCK) + 1))
    while count := os.readv(reader, [block]):
        rest = block[:count]
        while rest:
            rest = rest[os.write(writer, rest) :]
        copied += count
        watch.moved(count)
    after = os.fstat(reader)
    if (copied, facts.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise StorageCorruptError(f"{shown}: {copied} bytes came of {after.st_size}: it changed")
    mode = stat.S_IMODE(facts.st_mode) & 0o777
    if stat.S_IMODE(os.fstat(writer).st_mode) != mode:
        os.fchmod(writer, mode)
    os.utime(writer, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    return facts


def create(path: Path | str, mode: int = 0o600) -> int:
    """A descriptor that writes to the new file `path`."""
    return os.open(path, _NEW, mode)


def make_directory(path: Path) -> None:
    """Make a directory and its parents, if it is not there. Raises OSError, StorageDeniedError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as exc:
        message = f"{path} cannot be a directory: there is a file of that name, or above it"
        raise StorageDeniedError(message) from exc


@contextmanager
def closing(descriptor: int) -> Iterator[int]:
    """Close `descriptor` at the end. What a file system says only then is raised too."""
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _copy_in_kernel(reader: int, writer: int, watch: Watch) -> int:
    """Copy what can be: by reflink, on the server, or from one page cache to the other."""
    copied = 0
    try:
        while count := os.copy_file_range(reader, writer, _STRIDE):
            copied += count
            watch.moved(count)
    except OSError as exc:
        if copied or exc.errno not in _NO_RANGE_COPY:
            raise
    return copied
