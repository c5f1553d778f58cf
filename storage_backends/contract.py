"""The contract of a storage backend. The exam is ``tests/storage_backends/conformance``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any


@dataclass(frozen=True, slots=True)
class Transfer:
    """What one fetch or store moved."""

    bytes: int
    #: Wall-clock time.
    seconds: float
    #: ``algorithm:hex`` as compared at both ends, or None where only sizes were compared.
    checksum: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One file (or, with a name that ends in ``/``, one directory) of a store."""

    #: Relative to the backend's root.
    name: str
    #: Bytes; 0 for a directory.
    size: int


class StorageBackend(ABC):
    """A place that holds files by name. Safe for concurrent use by many threads; every call blocks.

    Names are relative to the backend's root, with ``/`` between their parts. A name that ends in
    ``/`` is a tree: all that lies below it, empty directories too; any other name is one file. The
    caller has checked names with `storage_backends.paths.checked_name`.

    Every call raises StorageNotFoundError, StorageDeniedError, StorageCorruptError or
    StorageTransientError and nothing else. Each may be called again after an error: fetch and store
    replace what is there. A file is there whole or not at all, under its name; a tree that failed
    half-way may have some of its files.
    """

    @classmethod
    @abstractmethod
    def open(cls, options: dict[str, Any]) -> StorageBackend:
        """A backend for `options` (``workdir``, ``bucket``, ...); ignores options not its own.

        Raises UsageError for an option that is missing or wrong.
        """

    @property
    def shared_directory(self) -> Path | None:
        """The root as a directory in which jobs work themselves, or None: stage files in and out.

        A backend that answers a directory is used without staging.
        """
        return None

    @abstractmethod
    def fetch(self, name: str, target: Path) -> Transfer:
        """Bring a file or tree to `target`, making its parents.

        A file lands by a temporary name beside `target` and a rename. Symlinks in the store are
        followed as long as they stay below the root.
        """

    @abstractmethod
    def store(self, source: Path, name: str, *, within: Path) -> Transfer:
        """Put the file or tree at `source` into the store as `name`, making its parents.

        Nothing outside the directory `within` is read: a symlink that leads out of it, a device,
        a socket or a fifo is refused with StorageDeniedError. The caller sees to it that nobody
        changes `source` meanwhile.
        """

    @abstractmethod
    def entries(self, name: str) -> list[Entry]:
        """All files and directories of a tree (``""`` is the root), sorted; or the one file."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Delete a file or tree. One that is not there is no error: the outcome is the same."""

    def close(self) -> None:  # noqa: B027 - most backends hold no connection
        """Let go of connections; the backend must not be used after."""

    def __enter__(self) -> StorageBackend:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
