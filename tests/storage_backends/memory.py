"""A store in memory that counts what it is asked, gives versions, and can be made slow."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from storage_backends.contract import Entry, StorageBackend, Transfer
from storage_backends.directories.boundary import open_inside
from storage_backends.errors import StorageNotFoundError
from storage_backends.objects.landing import landing
from storage_backends.paths import is_tree
from storage_backends.pool import TransferPool
from storage_backends.watch import Watch

Hook = Callable[[str, Watch], None]


class MemoryBackend(StorageBackend):
    """Files in a dictionary. `before_block` is called before each block moves, and may wait."""

    def __init__(self, block: int = 1 << 16) -> None:
        self.files: dict[str, tuple[bytes, int]] = {}
        self.calls: Counter[tuple[str, str]] = Counter()
        self.before_block: Hook = lambda _name, watch: watch.check()
        self.gives_versions = True
        self._block = block
        self._count = 0
        self._lock = threading.Lock()  # guards all of the above

    @classmethod
    def open(cls, options: dict[str, Any], pool: TransferPool) -> StorageBackend:
        raise NotImplementedError

    def put(self, name: str, data: bytes) -> None:
        """Make or replace an object."""
        with self._lock:
            self._count += 1
            self.files[name] = (data, self._count)

    def fetch(
        self,
        name: str,
        target: Path,
        *,
        watch: Watch | None = None,
        read_only: bool = False,  # noqa: ARG002 - the contract's
    ) -> Transfer:
        watch = watch or Watch()
        if is_tree(name):
            names = [entry.name for entry in self.entries(name) if not is_tree(entry.name)]
            moved = [self.fetch(n, target / n.removeprefix(name), watch=watch) for n in names]
            return Transfer(sum(transfer.bytes for transfer in moved), 0.0)
        data, version = self._read("fetch", name)
        target.parent.mkdir(parents=True, exist_ok=True)
        with landing(target) as temporary, temporary.open("wb") as file:
            for start in range(0, len(data), self._block):
                self.before_block(name, watch)
                file.write(data[start : start + self._block])
                watch.moved(min(self._block, len(data) - start))
        return Transfer(len(data), 0.0, _checksum(data), self._version(version))

    def store(
        self, source: Path, name: str, *, within: Path, watch: Watch | None = None
    ) -> Transfer:
        watch = watch or Watch()
        self.calls["store", name] += 1
        with os.fdopen(open_inside(source, within.resolve()), "rb") as file:
            data = file.read()
        for start in range(0, len(data), self._block):
            self.before_block(name, watch)
            watch.moved(min(self._block, len(data) - start))
        self.put(name, data)
        return Transfer(len(data), 0.0, _checksum(data))

    def entries(self, name: str) -> list[Entry]:
        if name and not is_tree(name):
            data, version = self._read("entries", name)
            return [Entry(name, len(data), self._version(version))]
        self.calls["entries", name] += 1
        with self._lock:
            found = sorted((n, f) for n, f in self.files.items() if n.startswith(name))
        if not found:
            raise StorageNotFoundError(f"no tree {name!r}")
        return [Entry(n, len(data), self._version(version)) for n, (data, version) in found]

    def remove(self, name: str) -> None:
        with self._lock:
            self.files.pop(name, None)

    def _read(self, call: str, name: str) -> tuple[bytes, int]:
        with self._lock:
            self.calls[call, name] += 1
            if name not in self.files:
                raise StorageNotFoundError(f"no file {name!r}")
            return self.files[name]

    def _version(self, version: int) -> str | None:
        return str(version) if self.gives_versions else None


def _checksum(data: bytes) -> str:
    return f"md5:{hashlib.md5(data, usedforsecurity=False).hexdigest()}"
