"""What the exam must know of a kind of store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from storage_backends import StorageBackend


@dataclass(frozen=True, kw_only=True)
class StoreKind:
    """A backend on a real part, and what it differs in."""

    #: For test ids and the docs: ``gcs``, ``nfs on another file system``.
    name: str
    #: An open backend on an empty store of its own, given an empty directory; calls
    #: `tests.services.missing` where the real part cannot be had.
    opened: Callable[[Path], AbstractContextManager[StorageBackend]]
    #: Behaviours (names of `tests.storage_backends.conformance.behaviours`) that the store has not.
    lacks: frozenset[str] = frozenset()
    #: Its name for the docs' table; None leaves it out (a variant of another row).
    documented: str | None = None
    #: Puts objects into the open store behind the backend's back, under names that it would refuse,
    #: given what `opened` gave and was given. A kind that lacks "writes" needs it.
    plant: Callable[[StorageBackend, Path, Mapping[str, bytes]], None] | None = None
    #: Bad names (of `tests.storage_backends.conformance.cases`) that the store itself cannot hold.
    cannot_hold: frozenset[str] = frozenset()
