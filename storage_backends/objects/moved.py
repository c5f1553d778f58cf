"""What was moved, as a backend tells it of objects."""

from __future__ import annotations

import time
from collections.abc import Sequence

from storage_backends.contract import Transfer
from storage_backends.objects import checksum
from storage_backends.objects.store import StoredObject


def file_moved(moved: StoredObject, started: float) -> Transfer:
    """The transfer of one file that began at `started` (`time.monotonic`) and has ended now."""
    seconds = time.monotonic() - started
    return Transfer(moved.size, seconds, moved.checksum, moved.version)


def tree_moved(name: str, files: Sequence[StoredObject], started: float) -> Transfer:
    """The same of the tree `name`, which consists of `files`."""
    whole = checksum.of_tree((file.name[len(name) :], file.checksum) for file in files)
    moved = sum(file.size for file in files)
    return Transfer(moved, time.monotonic() - started, whole)
