"""Many guarded writes in one round trip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pymongo import ReplaceOne, UpdateOne


@dataclass(frozen=True, slots=True)
class Write:
    """A change of the one document that matches, if it still does."""

    where: dict[str, Any]
    #: Update operators, or a whole document that takes the old one's place.
    change: dict[str, Any]
    #: Whether to make the document when none matches.
    upsert: bool = False

    @property
    def replaces(self) -> bool:
        """Whether `change` is a whole document."""
        return not next(iter(self.change)).startswith("$")


def write_all(collection: Any, writes: Sequence[Write]) -> int:
    """Carry out all, in any order; how many found, or made, their document.

    Raises pymongo's errors.
    """
    if not writes:
        return 0
    if len(writes) == 1 or type(collection).__module__.startswith("mongomock"):
        # mongomock 4.3 does not take the bulk operations of today's pymongo.
        return sum(_write_one(collection, write) for write in writes)
    requests = [
        (ReplaceOne if write.replaces else UpdateOne)(write.where, write.change, write.upsert)
        for write in writes
    ]
    result = collection.bulk_write(requests, ordered=False)
    return int(result.matched_count + result.upserted_count)


def _write_one(collection: Any, write: Write) -> int:
    method = collection.replace_one if write.replaces else collection.update_one
    result = method(write.where, write.change, write.upsert)
    return int(result.matched_count + (result.upserted_id is not None))
