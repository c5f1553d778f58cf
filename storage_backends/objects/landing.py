"""A temporary file beside its target, filled in parts, that becomes the target or nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from storage_backends.errors import StorageCorruptError
from storage_backends.objects import checksum
from storage_backends.objects.checksum import Checksum, Crc32c
from storage_backends.objects.store import StoredObject
from storage_backends.paths import temporary_beside


@contextmanager
def landing(target: Path) -> Iterator[Path]:
    """An empty temporary file beside `target` that becomes it at the end, or is removed."""
    temporary = temporary_beside(target)
    try:
        temporary.open("xb").close()
        yield temporary
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


class Part:
    """A `Sink` into a file from byte `start` on that counts and hashes what passes.

    Other parts of the file may be written by other threads meanwhile. The checksum is of the
    algorithm of `like`, or none.
    """

    def __init__(self, path: Path, start: int, like: str | None) -> None:
        self._file = path.open("r+b", buffering=0)
        self._file.seek(start)
        self.checksum = checksum.like(like)
        self.written = 0

    def write(self, block: bytes | memoryview, /) -> int:
        """Take all of `block`; returns its length."""
        if self.checksum is not None:
            self.checksum.update(block)
        rest = memoryview(block)
        while rest:
            rest = rest[self._file.write(rest) :]
        self.written += len(block)
        return len(block)

    def __enter__(self) -> Part:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()


def compare(found: StoredObject, temporary: Path, parts: Sequence[Part]) -> None:
    """Compare the checksum of what came, in all `parts` in order, with the store's.

    Raises StorageCorruptError. Where the store has none, or one of an unknown kind, does nothing:
    the sizes were compared.
    """
    came = _joined(parts) if len(parts) > 1 else parts[0].checksum
    if came is None and len(parts) > 1 and (came := checksum.like(found.checksum)):
        # Other checksums than CRC-32C cannot be joined: read the file again, mostly from memory.
        with temporary.open("rb", buffering=0) as written:
            checksum.of_file(written, came)
    if came is not None and came.text() != found.checksum:
        raise StorageCorruptError(f"{came.text()} came, but the store has {found.checksum}")


def _joined(parts: Sequence[Part]) -> Checksum | None:
    whole = Crc32c()
    for part in parts:
        if not isinstance(part.checksum, Crc32c):
            return None
        whole.join(part.checksum, part.written)
    return whole
