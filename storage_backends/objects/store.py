"""The few requests that a store of objects answers; `ObjectBackend` makes a backend of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO, Protocol

from storage_backends.watch import Watch


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object as its store describes it."""

    #: Below the store's root; a name that ends in ``/`` is a directory, or a placeholder of one.
    name: str
    size: int
    #: What differs when the content differs.
    version: str | None = None
    #: ``algorithm:hex`` of the content, where the store knows it; see `objects.checksum`.
    checksum: str | None = None


class Sink(Protocol):
    """Where the bytes of an object go, in their order."""

    def write(self, block: bytes | memoryview, /) -> int:
        """Take all of `block`; returns its length."""


class ObjectStore(ABC):
    """Objects by name. Each call is one request, or a few, tried once.

    Safe for concurrent use by as many threads as the pool has, and as many callers more. Every call
    raises StorageError's kinds and nothing else: vendor exceptions are translated here.
    """

    #: The root, for messages and the cache: ``gs://bucket``.
    url: str
    #: A longer file is fetched in ranges of this size, side by side; None: the store has no ranges.
    range_size: int | None = None
    #: Whether `make_directory` is wanted for every directory above a file, not only for empty ones.
    wants_directories: bool = False
    #: Whether `upload` wants to know what a tree holds already: one listing for each stored tree.
    wants_listing: bool = False

    @abstractmethod
    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Every object whose name begins with `prefix` (``""`` or ends in ``/``), in any order.

        Nothing is raised where there is none. Names may be anything that the store allows.
        """

    @abstractmethod
    def stat(self, name: str) -> StoredObject:
        """The object `name`; raises StorageNotFoundError."""

    @abstractmethod
    def read(self, found: StoredObject, start: int, end: int, into: Sink, watch: Watch) -> None:
        """Write the bytes from `start` up to but not including `end` of `found` to `into`.

        They are of that version of the object: raises StorageChangedError when there is another
        one now, or none, and the store can tell. `into` is at the right position and is nobody
        else's. Tells `watch` of each block, of about a MiB.
        """

    @abstractmethod
    def write(self, name: str, source: BinaryIO, size: int, watch: Watch) -> StoredObject:
        """Make `name` the `size` bytes of `source`, which stands at its beginning.

        The object appears whole or not at all. Raises StorageCorruptError when the store received
        something else, by checksum or size.
        """

    def upload(
        self,
        name: str,
        listed: Mapping[str, StoredObject] | None,  # noqa: ARG002 - for stores that guard
    ) -> Callable[[BinaryIO, int, Watch], StoredObject]:
        """What `write` does for `name`, to be called again after an attempt that failed.

        `listed` has what the tree held before, by name, or is None when nobody has looked. A store
        that can guards against writers meanwhile, and raises StorageChangedError.
        """
        return partial(self.write, name)

    @abstractmethod
    def make_directory(self, name: str) -> None:
        """Make `name`, which ends in ``/``, so that `list` names it; idempotent."""

    @abstractmethod
    def delete(self, name: str) -> None:
        """Delete one object; one that is not there is no error."""

    def close(self) -> None:  # noqa: B027 - not all hold connections
        """Let go of connections."""
