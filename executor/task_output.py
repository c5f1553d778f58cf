"""What tasks print, as lines for logs: split, bounded, and what was left out counted."""

from __future__ import annotations

import time
from collections.abc import Callable

#: Lines at once, and lines a second after that: enough to read, too few to drown a log.
BURST = 1000.0
RATE = 100.0
#: Bytes of one line; the rest of a longer one is left out.
LONGEST = 4096
_STREAMS = {1: "stdout", 2: "stderr"}

#: Given lines as (stream, text), and how many were left out before them.
Deliver = Callable[[list[tuple[str, str]], int], None]


class LineListener:
    """Turns blocks of output into lines, at most so many a second. For one thread at a time."""

    def __init__(self, deliver: Deliver, now: Callable[[], float] = time.monotonic) -> None:
        self._deliver = deliver
        self._now = now
        self._rests: dict[int, bytes] = {}
        self._allowance = BURST
        self._asked = now()
        self._dropped = 0

    def __call__(self, stream: int, block: bytes) -> None:
        """Take in a block of a stream (1 is stdout, 2 is stderr)."""
        *lines, rest = (self._rests.get(stream, b"") + block).split(b"\n")
        self._rests[stream] = rest[:LONGEST]
        self._pass_on(stream, lines)

    def finish(self) -> None:
        """The output has ended: deliver what has no newline, and the last count."""
        for stream, rest in self._rests.items():
            self._pass_on(stream, [rest] if rest else [])
        self._rests.clear()
        if self._dropped:
            self._deliver([], self._dropped)
            self._dropped = 0

    def _pass_on(self, stream: int, lines: list[bytes]) -> None:
        taken = lines[: self._take(len(lines))]
        if taken:
            name = _STREAMS.get(stream, str(stream))
            texts = [(name, line[:LONGEST].decode(errors="replace").rstrip("\r")) for line in taken]
            self._deliver(texts, self._dropped)
            self._dropped = 0
        self._dropped += len(lines) - len(taken)

    def _take(self, wanted: int) -> int:
        now = self._now()
        self._allowance = min(BURST, self._allowance + RATE * (now - self._asked))
        self._asked = now
        granted = min(wanted, int(self._allowance))
        self._allowance -= granted
        return granted
