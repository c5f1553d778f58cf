"""Cuts a program off in the midst of its writes to MongoDB, as a power cut would."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from pymongo.collection import Collection

_WRITES = (
    *("insert_one", "insert_many", "update_one", "update_many", "replace_one", "bulk_write"),
    *("delete_one", "delete_many", "find_one_and_update", "find_one_and_replace"),
)


class CutOff(BaseException):
    """The program is dead from here on."""


class Scissors:
    """Lets so many writes to one database pass; the next is done not at all, in part, or just."""

    def __init__(self, database: str, writes: int, rng: Random) -> None:
        self._database = database
        self._left = writes
        self._rng = rng
        self.has_cut = False
        #: Nothing may be written until a new program is there.
        self.is_dead = False

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Watch all writes from now on."""
        for name in _WRITES:
            monkeypatch.setattr(Collection, name, self._watched(name, getattr(Collection, name)))

    def _watched(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def write(collection: Any, *args: Any, **options: Any) -> Any:
            if collection.database.name != self._database:
                return original(collection, *args, **options)
            if self.is_dead:
                raise CutOff
            self._left -= 1
            if self._left < 0 and not self.has_cut:
                self.has_cut = self.is_dead = True
                self._last_write(name, original, collection, args, options)
                raise CutOff
            return original(collection, *args, **options)

        return write

    def _last_write(
        self,
        name: str,
        original: Callable[..., Any],
        collection: Any,
        args: tuple[Any, ...],
        options: dict[str, Any],
    ) -> None:
        how = self._rng.choice(["before", "in part", "after"])
        if how == "after":
            original(collection, *args, **options)
        elif how == "in part":
            # Only what MongoDB does document by document can be done in part.
            if name == "update_many":
                where, change = args
                found = [document["_id"] for document in collection.find(where, {"_id": 1})]
                original(collection, {"_id": {"$in": self._some(found)}}, change)
            elif name == "bulk_write" and (requests := self._some(list(args[0]))):
                original(collection, requests, **options)
            elif name == "insert_many":
                documents = list(args[0])
                if first := documents[: self._rng.randint(0, len(documents))]:
                    original(collection, first, **options)

    def _some(self, items: list[Any]) -> list[Any]:
        return self._rng.sample(items, self._rng.randint(0, len(items)))
