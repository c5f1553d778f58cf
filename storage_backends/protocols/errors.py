"""What went wrong in fsspec and the HTTP services below it, as Portfire's errors.

Vendors' texts are shown in one line and without the user, password or signed query of a URL. What
was being done to which file is said by `ObjectBackend`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from messaging.errors import PortfireError
from storage_backends.errors import (
    StorageDeniedError,
    StorageError,
    StorageNotFoundError,
    StorageTransientError,
    from_os_error,
)

_USER = re.compile(r"(?<=://)[^/@\s]*@")
_QUERY = re.compile(r"\?[^\s'\"]*")


def one_line(text: object) -> str:
    """`text` in one line, without what a URL may hide."""
    return _QUERY.sub("?...", _USER.sub("", " ".join(str(text).split())))


def shown_url(url: str) -> str:
    """`url` as messages, events and the cache may show it; without a slash at its end."""
    return _USER.sub("", url.partition("?")[0]).rstrip("/")


def from_status(status: int, reason: object) -> StorageError:
    """The typed error for an HTTP answer `status` with the server's own `reason`."""
    said = f"HTTP {status} {one_line(reason or '')}".rstrip()
    if status in (404, 410):
        return StorageNotFoundError(said)
    if status in (408, 409, 412, 425, 429) or status >= 500:
        return StorageTransientError(said)
    if status in (401, 403):
        said += ": these credentials may not do that"
    return StorageDeniedError(said)


def from_fsspec(exc: Exception) -> StorageError:
    """The typed error for what a file system of fsspec raised."""
    if isinstance(exc, FileNotFoundError | IsADirectoryError | NotADirectoryError):
        return StorageNotFoundError("no such file or directory")
    if isinstance(exc, PermissionError):
        return StorageDeniedError(f"permission denied: {one_line(exc)}")
    if isinstance(exc, NotImplementedError):
        return StorageDeniedError("this kind of store cannot do that")
    if isinstance(exc, OSError) and exc.errno:
        return from_os_error(exc, "the store or this machine's disk says")
    said = f"{type(exc).__name__}: {one_line(exc)}".removesuffix(": ")
    if isinstance(exc, TypeError):
        return StorageDeniedError(f"{said}; check the storage option 'fsspec'")
    return StorageTransientError(said)


@contextmanager
def translated() -> Iterator[None]:
    """Whatever a file system of fsspec raises within becomes a StorageError."""
    try:
        yield
    except PortfireError:
        raise
    except Exception as exc:
        raise from_fsspec(exc) from exc
