"""Log entries that wait to be sent: bounded, so that a slow service costs log lines and no job."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One log line on its way."""

    #: Seconds since the epoch, UTC.
    timestamp: float
    #: Cloud Logging's word.
    severity: str
    text: str
    labels: Mapping[str, str] = field(default_factory=dict)
    #: Unique in this process: an entry that is sent twice is stored once.
    number: int = 0

    @property
    def size(self) -> int:
        """About as many bytes as it takes in a request."""
        return 200 + len(self.text) + sum(len(k) + len(v) for k, v in self.labels.items())


class Backlog:
    """A queue that refuses what it has no room for. Thread-safe; putting never blocks."""

    def __init__(self, max_entries: int, max_bytes: int) -> None:
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._entries: deque[Entry] = deque()
        self._bytes = 0
        self._taken = 0
        self._closed = False
        self._hurried = False
        self._changed = threading.Condition()  # guards all of the above

    def put(self, entry: Entry) -> bool:
        """Whether there was room. Details (DEBUG) may take half of it, so that the rest gets in."""
        share = 0.5 if entry.severity == "DEBUG" else 1.0
        with self._changed:
            if (
                self._closed
                or len(self._entries) >= share * self._max_entries
                or self._bytes + entry.size > share * self._max_bytes
            ):
                return False
            self._entries.append(entry)
            self._bytes += entry.size
            if len(self._entries) == 1:
                self._changed.notify_all()
            return True

    def take(self, max_entries: int, max_bytes: int, gather: float) -> list[Entry]:
        """Wait for entries, `gather` seconds more for others, and take some; [] after the last one.

        They count as waiting until `settle` is called, which comes before the next `take`.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._entries or self._closed)
            self._changed.wait_for(
                lambda: self._closed or self._hurried or len(self._entries) >= max_entries, gather
            )
            batch: list[Entry] = []
            size = 0
            while self._entries and len(batch) < max_entries:
                if batch and size + self._entries[0].size > max_bytes:
                    break
                batch.append(self._entries.popleft())
                size += batch[-1].size
            self._bytes -= size
            self._taken = len(batch)
            return batch

    def settle(self) -> None:
        """What was taken is sent, or given up."""
        with self._changed:
            self._taken = 0
            self._hurried = self._hurried and bool(self._entries)
            self._changed.notify_all()

    def wait_empty(self, seconds: float) -> bool:
        """Have all that waits sent at once, and wait for it; whether that was so in time."""
        with self._changed:
            self._hurried = True
            self._changed.notify_all()
            return self._changed.wait_for(lambda: not self.waiting, seconds)

    def close(self) -> None:
        """Take no more in. Idempotent."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def waiting(self) -> int:
        """How many are not sent yet."""
        return len(self._entries) + self._taken
