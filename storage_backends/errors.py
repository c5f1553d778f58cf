"""What can go wrong with a store, by what the caller does next.

A backend translates its vendor's exceptions into these once, ``raise ... from exc``. Each message
is one line that names the path and what was looked for.
"""

from __future__ import annotations

import errno

from messaging.errors import JobError, PortfireError, ServiceError


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


_MISSING = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}


def from_os_error(exc: OSError, doing: str) -> StorageError:
    """The typed error for what the operating system said while `doing` (``fetching file 'a'``)."""
    reason = f"{doing}: {exc.strerror or exc}"
    if exc.errno in _MISSING:
        return StorageNotFoundError(reason)
    if exc.errno in _DENIED:
        return StorageDeniedError(f"{reason}; the executor's user needs that permission")
    return StorageTransientError(reason)
