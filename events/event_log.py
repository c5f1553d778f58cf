"""A file of events that is only ever added to: what is in it stays in it, whatever is killed."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path

from pydantic_core import from_json

from messaging.errors import UsageError

logger = logging.getLogger(__name__)

#: Events whose ids are remembered, to leave out what is delivered again.
REMEMBERED_IDS = 100_000
#: How much of the file's end is read for them: enough for about as many.
_TAIL_BYTES = 64_000_000
_BLOCK_BYTES = 1_000_000
#: How our own events begin.
_BEGINNING = b'{"version":'


class EventLog:
    """Appends events, each a line of JSON, to a file; one that exists is continued.

    A last line that was cut is taken off, since nobody was told that its event is safe. A lock
    keeps other writers out. Not thread-safe.
    """

    def __init__(self, path: Path) -> None:
        """Open or create the file, and repair its end; raises UsageError."""
        self.path = path
        self._ids: OrderedDict[str, None] = OrderedDict()
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as exc:
            raise _unwritable(path, exc) from exc
        try:
            self._lock()
            self._check_that_it_is_a_recording()
            self._end = self._repaired()
            self._remember_tail()
            # A new file's name is as durable from here on as what is written to it.
            sync_directory(path)
        except OSError as exc:
            os.close(self._fd)
            raise _unwritable(path, exc) from exc
        except BaseException:
            os.close(self._fd)
            raise

    def close(self) -> None:
        """Close the file, and let other writers in."""
        os.close(self._fd)

    def append(self, events: Iterable[tuple[str, bytes]]) -> int:
        """Write those of the events (id and line) that are new; the number of them.

        On return they are on the disk. Raises UsageError when they are not; then none of them is in
        the file, and each can be appended again.
        """
        fresh: dict[str, bytes] = {}
        for event_id, line in events:
            if event_id not in self._ids:
                fresh.setdefault(event_id, line)
        if fresh:
            self._write(b"".join(fresh.values()))
        for event_id in fresh:
            self._remember(event_id)
        return len(fresh)

    def _write(self, data: bytes) -> None:
        if not self._in_place():
            raise UsageError(
                f"the recording {self.path} was removed or replaced meanwhile: start again"
            )
        try:
            written = 0
            while written < len(data):
                written += os.pwrite(self._fd, data[written:], self._end + written)
            os.fsync(self._fd)
        except OSError as exc:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, self._end)
            raise _unwritable(self.path, exc) from exc
        self._end += len(data)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free = self._in_place()
        except BlockingIOError:
            free = False
        if not free:
            raise UsageError(
                f"{self.path} is being written by another `portfire events record`: stop that "
                "one, or name another file"
            )

    def _in_place(self) -> bool:
        """Whether the path still leads to the file that is open."""
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(self._fd))  # noqa: PTH116 - both
        except FileNotFoundError:
            return False

    def _check_that_it_is_a_recording(self) -> None:
        """Nobody's other file loses its last line to us."""
        begin = os.pread(self._fd, _BLOCK_BYTES, 0)
        first, end, _ = begin.partition(b"\n")
        known = first.startswith(_BEGINNING) or _BEGINNING.startswith(first)
        if not known and not (end and _is_object(first)):
            raise UsageError(f"{self.path} is no recording of events: name another file")

    def _repaired(self) -> int:
        """Take off a last line that was cut; where the file ends now."""
        size = os.fstat(self._fd).st_size
        start = self._start_of_last_line(size)
        last = os.pread(self._fd, size - start, start)
        if not last:
            return size
        if _is_object(last):
            # Whole but for its end: somebody's editor.
            os.pwrite(self._fd, b"\n", size)
            return size + 1
        os.ftruncate(self._fd, start)
        logger.warning("%s ended in the middle of a line: it goes on before that line", self.path)
        return start

    def _start_of_last_line(self, size: int) -> int:
        end = size
        while end > 0:
            start = max(0, end - _BLOCK_BYTES)
            found = os.pread(self._fd, end - start, start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            end = start
        return 0

    def _remember_tail(self) -> None:
        start = max(0, self._end - _TAIL_BYTES)
        with os.fdopen(os.dup(self._fd), "rb") as file:
            file.seek(start)
            if start > 0:
                file.readline()
            for line in file:
                event_id = identity(line)
                if event_id is not None:
                    self._remember(event_id)

    def _remember(self, event_id: str) -> None:
        self._ids[event_id] = None
        if len(self._ids) > REMEMBERED_IDS:
            self._ids.popitem(last=False)


def identity(line: bytes) -> str | None:
    """The id of the event in a line; None when there is none."""
    try:
        body = from_json(line)
    except ValueError:
        return None
    event_id = body.get("event_id") if isinstance(body, dict) else None
    return None if event_id is None else str(event_id)


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(from_json(line), dict)
    except ValueError:
        return False


def sync_directory(path: Path) -> None:
    """Make the name `path` durable in its directory; raises OSError."""
    fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _unwritable(path: Path, error: OSError) -> UsageError:
    return UsageError(f"cannot write the recording {path}: {error.strerror or error}")
