"""The contract of a storage backend. The exam is ``tests/storage_backends/conformance``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from storage_backends.pool import TransferPool
from storage_backends.watch import Watch


@dataclass(frozen=True, slots=True)
class Transfer:
    """What one fetch or store moved."""

    bytes: int
    #: Wall-clock time.
    seconds: float
    #: ``algorithm:hex`` as compared at both ends, or None where only sizes were compared. For a
    #: tree, that of the lines ``CHECKSUM  NAME`` of its files, sorted by name.
    checksum: str | None = None
    #: The version of the one file that was moved (see `Entry.version`); None for a tree.
    version: str | None = None
    #: How many of the bytes came from the executor's input cache.
    cached: int = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """One file (or, with a name that ends in ``/``, one directory) of a store."""

    #: Relative to the backend's root.
    name: str
    #: Bytes; 0 for a directory.
    size: int
    #: What differs when the content differs: a generation, an etag; None where a store has none.
    version: str | None = None


@dataclass(frozen=True, slots=True)
class Upload:
    """What one `StorageBackend.store` is told."""

    source: Path
    name: str
    within: Path


class StorageBackend(ABC):
    """A place that holds files by name. Safe for concurrent use by many threads; every call blocks.

    Names are relative to the backend's root, with ``/`` between their parts. A name that ends in
    ``/`` is a tree: all that lies below it, empty directories too; any other name is one file. The
    caller has checked names with `storage_backends.paths.checked_name`.

    Every call raises StorageNotFoundError, StorageDeniedError, StorageCorruptError or
    StorageTransientError and nothing else, after its own retries. Each may be called again after an
    error: fetch and store replace what is there. A file is there whole or not at all, under its
    name; a tree that failed half-way may have some of its files.

    A `watch` counts the bytes as they move; once it is stopped, the call raises
    TransferStoppedError soon, and nothing appears in the store or at the target any more.
    """

    @classmethod
    @abstractmethod
    def open(cls, options: dict[str, Any], pool: TransferPool) -> StorageBackend:
        """A backend for `options` (``workdir``, ``bucket``, ...); ignores options not its own.

        Its transfers run on `pool`, which others use too. Touches no network. Raises UsageError for
        an option that is missing or wrong, or a package or program that is not installed.
        """

    @property
    def shared_directory(self) -> Path | None:
        """The root as a directory in which jobs work themselves, or None: stage files in and out.

        A backend that answers a directory is used without staging.
        """
        return None

    @abstractmethod
    def fetch(
        self, name: str, target: Path, *, watch: Watch | None = None, read_only: bool = False
    ) -> Transfer:
        """Bring a file or tree to `target`, making its parents.

        A file lands by a temporary name beside `target` and a rename. Symlinks in the store are
        followed as long as they stay below the root. With `read_only` the caller sees to it that
        nobody alters what lands, which may then be shared with others.
        """

    @abstractmethod
    def store(
        self, source: Path, name: str, *, within: Path, watch: Watch | None = None
    ) -> Transfer:
        """Put the file or tree at `source` into the store as `name`, making its parents.

        Nothing outside the directory `within` is read: a symlink that leads out of it, a device,
        a socket or a fifo is refused with StorageDeniedError. The caller sees to it that nobody
        changes `source` meanwhile.
        """

    def fetch_all(
        self, wanted: Mapping[str, Path], *, watch: Watch | None = None, read_only: bool = False
    ) -> dict[str, Transfer]:
        """Fetch many files and trees, by name to their targets; what each moved, by name.

        The first error is raised. One after another here: a backend may have something quicker.
        """
        return {
            name: self.fetch(name, target, watch=watch, read_only=read_only)
            for name, target in wanted.items()
        }

    def store_all(
        self, uploads: Sequence[Upload], *, watch: Watch | None = None
    ) -> dict[str, Transfer]:
        """Store many files and trees; what each moved, by name. See `fetch_all`."""
        return {
            upload.name: self.store(upload.source, upload.name, within=upload.within, watch=watch)
            for upload in uploads
        }

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
