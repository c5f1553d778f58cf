"""The stores that sit the conformance exam, and a wrapper that makes any of them fail."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from storage_backends.contract import Entry, StorageBackend, Transfer
from storage_backends.pool import TransferPool
from storage_backends.watch import Watch
from tests.services import missing


@contextmanager
def other_file_system(directory: Path) -> Iterator[Path]:
    """A file system of its own at `directory`, so that renames to it fail as they do on NFS."""
    if os.geteuid() != 0:
        missing("only root can mount a tmpfs: run the tests as root")
    directory.mkdir()
    size = ["-o", "size=64m"]
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", *size, "tmpfs", str(directory)], capture_output=True, text=True
    )
    if mount.returncode != 0:
        missing(f"tmpfs cannot be mounted here: {mount.stderr.strip()}")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


class FaultyBackend(StorageBackend):
    """A backend that asks `fault` first, with the call's name and the file's, and may so raise."""

    def __init__(self, inner: StorageBackend, fault: Callable[[str, str], None]) -> None:
        self._inner = inner
        self._fault = fault

    @classmethod
    def open(cls, options: dict[str, Any], pool: TransferPool) -> StorageBackend:
        raise NotImplementedError

    @property
    def shared_directory(self) -> Path | None:
        return self._inner.shared_directory

    def fetch(
        self, name: str, target: Path, *, watch: Watch | None = None, read_only: bool = False
    ) -> Transfer:
        self._fault("fetch", name)
        return self._inner.fetch(name, target, watch=watch, read_only=read_only)

    def store(
        self, source: Path, name: str, *, within: Path, watch: Watch | None = None
    ) -> Transfer:
        self._fault("store", name)
        return self._inner.store(source, name, within=within, watch=watch)

    def entries(self, name: str) -> list[Entry]:
        self._fault("entries", name)
        return self._inner.entries(name)

    def remove(self, name: str) -> None:
        self._fault("remove", name)
        self._inner.remove(name)

    def close(self) -> None:
        self._inner.close()
