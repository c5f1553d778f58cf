"""The records that travel between a client of the transfer process and its server, pickled.

A client sends `Open` first, then one request after another. Each is answered by any number of
`Progress` and one `Result` or `Failure`. A client that closes the connection, or its sending half,
stops its request; the server closes the connection when that has ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from messaging.errors import PortfireError, UsageError
from storage_backends.contract import Upload
from storage_backends.errors import (
    StorageCorruptError,
    StorageDeniedError,
    StorageError,
    StorageNotFoundError,
    StorageTransientError,
)
from storage_backends.watch import TransferStoppedError

_ERRORS: Mapping[str, type[PortfireError]] = {
    kind.__name__: kind
    for kind in (
        StorageCorruptError,
        StorageDeniedError,
        StorageError,
        StorageNotFoundError,
        StorageTransientError,
        TransferStoppedError,
        UsageError,
    )
}


@dataclass(frozen=True, slots=True)
class Open:
    """The backend that this connection is about. Its options may hold credentials: never shown."""

    name: str
    options: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class FetchAll:
    """`StorageBackend.fetch_all`; absolute targets."""

    wanted: Mapping[str, Path]
    read_only: bool


@dataclass(frozen=True, slots=True)
class StoreAll:
    """`StorageBackend.store_all`; absolute sources."""

    uploads: tuple[Upload, ...]


@dataclass(frozen=True, slots=True)
class ListEntries:
    """`StorageBackend.entries`."""

    name: str


@dataclass(frozen=True, slots=True)
class Remove:
    """`StorageBackend.remove`."""

    name: str


@dataclass(frozen=True, slots=True)
class Progress:
    """Bytes of the request under way so far; sent about once a second."""

    bytes: int


@dataclass(frozen=True, slots=True)
class Result:
    """What the call returned."""

    value: Any


@dataclass(frozen=True, slots=True)
class Failure:
    """What the call raised."""

    kind: str
    text: str

    @classmethod
    def of(cls, error: PortfireError) -> Failure:
        """Name the nearest kind that the other side knows."""
        names = [kind.__name__ for kind in type(error).__mro__ if kind.__name__ in _ERRORS]
        return cls(names[0] if names else StorageTransientError.__name__, str(error))

    def error(self) -> PortfireError:
        """The error again."""
        return _ERRORS[self.kind](self.text)


Request = FetchAll | StoreAll | ListEntries | Remove
Answer = Result | Failure
