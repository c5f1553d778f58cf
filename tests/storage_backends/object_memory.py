"""A store of objects in a dictionary, for faults of the engine that no real store has at will."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from typing import BinaryIO

from storage_backends.errors import StorageChangedError, StorageNotFoundError
from storage_backends.objects.store import ObjectStore, Sink, StoredObject
from storage_backends.watch import Watch

_BLOCK = 1000


class ObjectsInMemory(ObjectStore):
    """Objects by name with MD5 checksums; `fault` is asked before each request and block."""

    url = "test://objects"

    def __init__(
        self, objects: dict[str, bytes] | None = None, *, range_size: int | None = None
    ) -> None:
        self.objects = dict(objects or {})
        self.range_size = range_size
        self.requests: list[str] = []
        self.fault: Callable[[str, str], None] = lambda *_: None
        #: What is read of an object, in place of its block.
        self.alter: Callable[[str, bytes], bytes] = lambda _, block: block
        self._versions: dict[str, int] = {}
        self._lock = threading.Lock()

    def put(self, name: str, data: bytes) -> None:
        """As somebody else would."""
        with self._lock:
            self.objects[name] = data
            self._versions[name] = self._versions.get(name, 0) + 1

    def list(self, prefix: str) -> Iterator[StoredObject]:
        self._asked("list", prefix)
        for name in list(self.objects):
            if name.startswith(prefix):
                yield self._described(name)

    def stat(self, name: str) -> StoredObject:
        self._asked("stat", name)
        if name not in self.objects:
            raise StorageNotFoundError("no such object")
        return self._described(name)

    def read(self, found: StoredObject, start: int, end: int, into: Sink, watch: Watch) -> None:
        self._asked("read", found.name)
        while start < end:
            self.fault("block", found.name)
            if self.objects.get(found.name) is None or self._described(found.name) != found:
                raise StorageChangedError("another one")
            block = self.objects[found.name][start : min(start + _BLOCK, end)]
            into.write(self.alter(found.name, block))
            watch.moved(len(block))
            start += len(block)

    def write(self, name: str, source: BinaryIO, size: int, watch: Watch) -> StoredObject:
        self._asked("write", name)
        data = b""
        while len(data) < size:
            self.fault("block", name)
            block = source.read(_BLOCK)
            data += block
            watch.moved(len(block))
        self.put(name, data)
        return self._described(name)

    def make_directory(self, name: str) -> None:
        self._asked("make", name)
        self.objects.setdefault(name, b"")

    def delete(self, name: str) -> None:
        self._asked("delete", name)
        self.objects.pop(name, None)

    def _asked(self, request: str, name: str) -> None:
        with self._lock:
            self.requests.append(f"{request} {name}")
        self.fault(request, name)

    def _described(self, name: str) -> StoredObject:
        data = self.objects[name]
        checksum = f"md5:{hashlib.md5(data).hexdigest()}"
        return StoredObject(name, len(data), str(self._versions.get(name, 0)), checksum)
