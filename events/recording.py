"""Reading recorded events: files of JSON lines, or Parquet where the name ends in ``.parquet``.

::

    for event in read_events("events.jsonl"):
        print(event.timestamp, event.routing_key)

A recording is what somebody else wrote, perhaps with another Portfire, perhaps until its machine
was switched off; so reading stops at nothing but a file that cannot be read at all.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from events.types import Event, decode
from messaging.errors import MessageError, UsageError
from messaging.wire import MAX_MESSAGE_BYTES

logger = logging.getLogger(__name__)

#: The longest line that can be an event; a longer one is passed over without being kept in memory.
MAX_LINE_BYTES = MAX_MESSAGE_BYTES + 1
PARQUET = ".parquet"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
#: How an event begins; where a line has it inside, one that was cut stands before it.
_BEGINNING = b'{"version":'
#: Places in one line at which an event is looked for.
_MAX_BEGINNINGS = 8


_Lines = Generator[bytes, None, None]


class Record(NamedTuple):
    """An event of a recording, and its JSON exactly as it was published."""

    event: Event
    data: bytes


def read_events(path: Path | str) -> EventReader:
    """The events of a recording, in the file's order; raises UsageError when it cannot be read.

    See `EventReader` for what becomes of lines that are no events.
    """
    return EventReader(Path(path))


class EventReader(Iterator[Event]):
    """Iterator over the events of a file. Not thread-safe.

    Types that this Portfire does not know come as a plain `Event` (or `JobEvent`). What is no
    event, or one of a newer major version, is left out and counted in `skipped`; a last line that
    was cut sets `cut`. At the end one warning each says so. The file is closed at the end, or by
    `close`.
    """

    def __init__(self, path: Path) -> None:
        """Open the file; raises UsageError."""
        self.path = path
        #: Lines that were left out, the cut one excepted.
        self.skipped = 0
        #: What the first of them is.
        self.first_problem: str | None = None
        #: Whether the file ends in the middle of a line.
        self.cut = False
        self._lines = _lines(path)
        self._records = self._read()

    def __iter__(self) -> EventReader:
        return self

    def __next__(self) -> Event:
        return next(self._records).event

    def records(self) -> Iterator[Record]:
        """The same events, each with its JSON as it was published."""
        return self._records

    def close(self) -> None:
        """Stop reading. Idempotent."""
        self._records.close()
        self._lines.close()

    def _read(self) -> Generator[Record, None, None]:
        for number, line in enumerate(self._lines, 1):
            text = line.strip().removeprefix(_BYTE_ORDER_MARK)
            if not text:
                continue
            try:
                record = Record(decode(text), text)
            except MessageError as exc:
                rest = _after_a_cut(text)
                if rest is not None or line.endswith(b"\n"):
                    self._note(number, exc)
                else:
                    self.cut = True
                if rest is None:
                    continue
                record = rest
            yield record
        self._warn()

    def _note(self, number: int, error: MessageError) -> None:
        self.skipped += 1
        if self.first_problem is None:
            self.first_problem = f"line {number}: {error}"

    def _warn(self) -> None:
        if self.skipped:
            logger.warning(
                "%s: left out %d that are no events of this version; the first is %s",
                self.path,
                self.skipped,
                self.first_problem,
            )
        if self.cut:
            logger.warning(
                "%s ends in the middle of a line: its last event is left out (was its writer "
                "killed?)",
                self.path,
            )


def _after_a_cut(line: bytes) -> Record | None:
    """The whole event at the end of a line whose beginning is one that was cut."""
    start = 0
    for _ in range(_MAX_BEGINNINGS):
        start = line.find(_BEGINNING, start + 1)
        if start < 0:
            return None
        try:
            return Record(decode(line[start:]), line[start:])
        except MessageError:
            continue
    return None


def _lines(path: Path) -> _Lines:
    """All lines of a recording, each with its end; opens the file at once."""
    if path.suffix == PARQUET:
        from events.parquet import parquet_lines

        return parquet_lines(path)
    return json_lines(path)


def json_lines(path: Path) -> _Lines:
    """The lines of a text file, as bytes; raises UsageError when it cannot be opened."""
    try:
        file = path.open("rb")
    except OSError as exc:
        raise unreadable(path, exc) from exc
    return _lines_of(path, file)


def _lines_of(path: Path, file: BinaryIO) -> _Lines:
    with file:
        try:
            while line := file.readline(MAX_LINE_BYTES):
                while not line.endswith(b"\n") and len(line) >= MAX_LINE_BYTES:
                    # The beginning of what is no event, with the end of its line.
                    more = file.readline(MAX_LINE_BYTES)
                    line = line[:100] + more if len(more) < MAX_LINE_BYTES else more
                yield line
        except OSError as exc:
            raise unreadable(path, exc) from exc


def unreadable(path: Path, error: OSError) -> UsageError:
    """What to say of a file that the system does not let us read."""
    return UsageError(f"cannot read the recording {path}: {error.strerror or error}")
