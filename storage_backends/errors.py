"""What can go wrong with a store, by what the caller does next.

A backend translates its vendor's exceptions into these once, ``raise ... from exc``. Each message
is one line that names the path and what was looked for.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from messaging.errors import JobError, PortfireError, ServiceError
from storage_backends.paths import PathError, is_tree


class StorageError(PortfireError):
    """Root of the storage layer's errors."""


class StorageNotFoundError(StorageError, JobError):
    """The file does not exist, or the tree holds nothing."""


class StorageDeniedError(StorageError, JobError):
    """The store refuses: no permission, or the path leads outside what the job may touch."""


class StorageCorruptError(StorageError, JobError):
    """What arrived is not what was sent, by size or checksum."""


class StorageTransientError(StorageError, ServiceError):
    """The store is away, slow or full: the same transfer may work later or elsewhere."""


class StorageChangedError(StorageTransientError):
    """Somebody else has replaced the file meanwhile: what is there now is not what was looked at.

    Not tried again as it is: a fetch looks anew, and a store leaves the newer file alone.
    """


class StorageFullError(StorageTransientError):
    """A disk is full, here or there: waiting does not help, another executor may."""


_FULL = {errno.ENOSPC, errno.EDQUOT}
_MISSING = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}

_IN_THE_WAY = {errno.EEXIST, errno.ENOTEMPTY}


def from_os_error(exc: OSError, doing: str) -> StorageError:
    """The typed error for what the operating system said while `doing` (``fetching file 'a'``)."""
    reason = f"{doing}: {exc.strerror or exc}"
    if exc.errno in _MISSING:
        return StorageNotFoundError(reason)
    if exc.errno in _DENIED:
        return StorageDeniedError(f"{reason}; the executor's user needs that permission")
    if exc.errno in _IN_THE_WAY:
        return StorageDeniedError(f"{reason}; a file is in the place of a directory, or reversed")
    if exc.errno in _FULL:
        return StorageFullError(f"{reason}; free some space there")
    return StorageTransientError(reason)


@contextmanager
def naming(doing: str, name: str, place: str) -> Iterator[None]:
    """Say in errors what was being done (``fetching``) to which file or tree of which `place`.

    Names that are refused and what the operating system says become StorageErrors too.
    """
    doing = f"{doing} {'tree' if is_tree(name) else 'file'} {name!r} ({place})"
    try:
        yield
    except PathError as exc:
        raise StorageDeniedError(f"{doing}: {exc}") from exc
    except StorageError as exc:
        raise type(exc)(f"{doing}: {exc}") from exc
    except OSError as exc:
        raise from_os_error(exc, doing) from exc
