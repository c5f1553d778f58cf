"""Files and trees of the exam, and what is left of them."""

from __future__ import annotations

from pathlib import Path

from storage_backends import StorageBackend
from storage_backends.watch import Watch


def put(job: Path, name: str, data: bytes = b"some bytes") -> Path:
    path = job / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def contents(directory: Path) -> dict[str, bytes | None]:
    """Every file below `directory` with its bytes, every directory with None."""
    return {
        str(path.relative_to(directory)): path.read_bytes() if path.is_file() else None
        for path in directory.rglob("*")
    }


def listed(backend: StorageBackend, name: str) -> list[tuple[str, int]]:
    return [(entry.name, entry.size) for entry in backend.entries(name)]


class StoppingWatch(Watch):
    """Stops its transfer once `after` bytes were moved."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self._after = after

    def _count(self, count: int) -> None:
        # Not `moved`: that is called of the part of a watch that moves.
        super()._count(count)
        if self.bytes >= self._after:
            self.stop()
