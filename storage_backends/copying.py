"""Copying files whole or not at all, and walking trees without leaving a boundary.

The boundary (`within`) is given with its symlinks resolved: it is asked about for every file.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path

from storage_backends.errors import StorageCorruptError, StorageDeniedError, StorageNotFoundError

_BLOCK = 1 << 20
#: What copy_file_range says where the two file systems cannot do it between them.
_NO_RANGE_COPY = {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM}


def copy_file(source: Path, target: Path, *, within: Path) -> int:
    """Copy a regular file that lies in `within` to `target`; returns its bytes.

    `target` appears by a rename in its own directory, so this works across file systems. Keeps
    permission bits and modification time. Raises OSError and StorageError.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{uuid.uuid4().hex}.part")
    with os.fdopen(open_inside(source, within), "rb") as reader:
        facts = os.fstat(reader.fileno())
        try:
            with temporary.open("xb") as writer:
                copied = _copy_bytes(reader.fileno(), writer.fileno())
                os.fchmod(writer.fileno(), stat.S_IMODE(facts.st_mode) & 0o777)
            _require_size(source, copied, facts.st_size)
            os.utime(temporary, ns=(facts.st_atime_ns, facts.st_mtime_ns))
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    return copied


def open_inside(path: Path, within: Path) -> int:
    """A descriptor that reads the regular file `path`, whose real place is below `within`.

    A fifo or device is refused without waiting on it. Raises OSError, StorageDeniedError and
    StorageNotFoundError.
    """
    real = _real_inside(path, within)
    descriptor = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise StorageNotFoundError(f"{path} is a directory: write '{path.name}/' for a tree")
    raise StorageDeniedError(f"{path} is not a regular file: only files and directories are moved")


def walk(tree: Path, within: Path) -> Iterator[tuple[str, Path]]:
    """Every directory (name ends in ``/``) and file below `tree`, parents first, by sorted name.

    Yields the name relative to `tree` and the path. Symlinks are followed while they stay below
    `within`; one that leads outside, nowhere, or back to a directory above itself is refused.
    """
    root = _real_inside(tree, within)
    if not root.is_dir():
        raise StorageNotFoundError(f"{tree}/ is not a directory: a name that ends in '/' is a tree")
    yield from _walk(root, "", within, (root,))


def _walk(
    directory: Path, prefix: str, within: Path, above: tuple[Path, ...]
) -> Iterator[tuple[str, Path]]:
    for path in sorted(directory.iterdir()):
        name = path.name
        real = _real_inside(path, within)
        if not real.is_dir():
            yield prefix + name, path
            continue
        if real in above:
            raise StorageDeniedError(f"{path} is a symbolic link to a directory above itself")
        yield f"{prefix}{name}/", path
        yield from _walk(real, f"{prefix}{name}/", within, (*above, real))


def _real_inside(path: Path, within: Path) -> Path:
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
        raise StorageDeniedError(f"{path} is a symbolic link to outside {within}")
    return real


def _require_size(source: Path, copied: int, size: int) -> None:
    if copied != size:
        raise StorageCorruptError(f"{source}: {copied} bytes came of {size}: it changed meanwhile")


def _copy_bytes(source: int, target: int) -> int:
    """Copy in the kernel where it can; the page cache or a reflink beats a buffer of ours."""
    copied = 0
    try:
        while count := os.copy_file_range(source, target, 1 << 30):
            copied += count
    except OSError as exc:
        if copied or exc.errno not in _NO_RANGE_COPY:
            raise
    if copied:
        return copied
    # Also for files that copy_file_range finds empty though they are not (some FUSE file systems).
    with contextlib.ExitStack() as stack:
        reader = stack.enter_context(os.fdopen(os.dup(source), "rb", buffering=0))
        writer = stack.enter_context(os.fdopen(os.dup(target), "wb", buffering=0))
        shutil.copyfileobj(reader, writer, _BLOCK)
        return writer.tell()
