"""Objects in memory, as a bucket of Google Cloud Storage would describe them."""

from __future__ import annotations

import base64
import bisect
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass

import google_crc32c

_BLOCK = 1 << 20


class PreconditionError(Exception):
    """The object has another generation than the request says."""


@dataclass(frozen=True, slots=True)
class Held:
    """One object."""

    name: str
    size: int
    generation: int
    #: Base64 of the big-endian bytes, as the API writes it.
    crc32c: str
    #: The content; None where it lies in `LargeContent`, or was counted only.
    body: bytes | None = None
    #: Whether the content is the beginning of the bucket's `LargeContent`.
    large: bool = False


class MemoryBucket:
    """The objects of the one bucket there is. For one thread."""

    def __init__(self, large: LargeContent) -> None:
        self.large = large
        self._objects: dict[str, Held] = {}
        self._names: list[str] = []
        self._generation = 1_000

    def add_large(self, name: str) -> None:
        """Make `name` all of the large content."""
        self._place(Held(name, self.large.size, self._next(), self.large.crc32c, large=True))

    def put(self, name: str, body: bytes, if_generation: int | None = None) -> Held:
        """Make `name` these bytes. Raises PreconditionError."""
        crc = checksum(google_crc32c.value(body))
        return self.put_counted(name, len(body), crc, if_generation, body)

    def put_counted(
        self,
        name: str,
        size: int,
        crc32c: str,
        if_generation: int | None = None,
        body: bytes | None = None,
    ) -> Held:
        """Make `name` an object of which perhaps no more is known than this."""
        there = self._objects.get(name)
        if if_generation is not None and if_generation != (there.generation if there else 0):
            raise PreconditionError(name)
        return self._place(Held(name, size, self._next(), crc32c, body))

    def get(self, name: str) -> Held | None:
        """The object `name`."""
        return self._objects.get(name)

    def delete(self, name: str) -> bool:
        """Whether `name` was there to delete."""
        if self._objects.pop(name, None) is None:
            return False
        del self._names[bisect.bisect_left(self._names, name)]
        return True

    def names(self, prefix: str, start: str) -> Iterator[Held]:
        """The objects below `prefix` from the name `start` on, sorted."""
        for number in range(bisect.bisect_left(self._names, max(prefix, start)), len(self._names)):
            name = self._names[number]
            if not name.startswith(prefix):
                return
            yield self._objects[name]

    def _next(self) -> int:
        self._generation += 1
        return self._generation

    def _place(self, held: Held) -> Held:
        if held.name not in self._objects:
            bisect.insort(self._names, held.name)
        self._objects[held.name] = held
        return held


class LargeContent:
    """Bytes that are sent by sendfile from memory, so that a large answer costs no copy here."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.file = os.fdopen(os.memfd_create("large"), "r+b", buffering=0)
        block = random.Random(size).randbytes(_BLOCK)
        crc = 0
        for start in range(0, size, _BLOCK):
            part = block[: min(_BLOCK, size - start)]
            self.file.write(part)
            crc = google_crc32c.extend(crc, part)
        self.crc32c = checksum(crc)


def checksum(crc: int) -> str:
    """A crc32c as the API writes it."""
    return base64.b64encode(crc.to_bytes(4, "big")).decode()
