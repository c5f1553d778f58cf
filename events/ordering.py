"""Puts the events of each job into their order, waiting a little for those on their way."""

from __future__ import annotations

import heapq
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from events.types import Event, JobEvent

#: Jobs whose next number is remembered.
REMEMBERED_JOBS = 20_000
#: Events that wait for others, at most; beyond, those of the job that waits for longest go on.
MAX_HELD = 10_000

_Key = tuple[str, str]


class _Held(NamedTuple):
    """An event that came before its turn, and when waiting for its predecessors ends."""

    event: JobEvent
    due: float


@dataclass(slots=True)
class _Line:
    """The events of one job on one executor."""

    #: The number that comes next.
    next: int = 1
    #: By number.
    held: dict[int, _Held] = field(default_factory=dict)
    #: The earliest of theirs.
    due: float = 0.0


class EventOrder:
    """Gives events out so that those of a job on an executor come in the order of their ``seq``.

    An event whose predecessors are missing waits for them, for `patience` seconds; then it goes on
    without them, and a predecessor that comes later goes out at once. Events without a number never
    wait. Nothing is dropped. Memory is bounded. Not thread-safe.
    """

    def __init__(self, patience: float = 1.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._patience = patience
        self._clock = clock
        #: The job that was silent for longest first.
        self._lines: OrderedDict[_Key, _Line] = OrderedDict()
        #: Those that hold events.
        self._waiting: OrderedDict[_Key, _Line] = OrderedDict()
        #: When jobs are due, earliest first, with what is no longer so.
        self._due: list[tuple[float, _Key]] = []
        self._held = 0

    def add(self, events: Iterable[Event]) -> list[Event]:
        """Take events as they came; returns those whose turn it is, and those overdue."""
        ready: list[Event] = []
        for event in events:
            if isinstance(event, JobEvent) and event.seq is not None and event.id:
                self._put((event.executor, event.id), event.seq, event, ready)
            else:
                ready.append(event)
        while self._held > MAX_HELD:
            self._give_up(next(iter(self._waiting)), float("inf"), ready)
        return ready + self.overdue()

    def overdue(self) -> list[Event]:
        """The events whose predecessors nobody waits for any more."""
        return self._all_due(self._clock())

    def flush(self) -> list[Event]:
        """All events that wait."""
        return self._all_due(float("inf"))

    def seconds_to_wait(self) -> float | None:
        """Seconds until the next event is overdue; None when none waits."""
        due = self._next_due()
        return None if due is None else max(0.0, due - self._clock())

    def _all_due(self, now: float) -> list[Event]:
        ready: list[Event] = []
        while (due := self._next_due()) is not None and due <= now:
            self._give_up(self._due[0][1], now, ready)
        return ready

    def _next_due(self) -> float | None:
        """When the first of `_due` is, after dropping those that are not waited for any more."""
        while self._due:
            due, key = self._due[0]
            line = self._waiting.get(key)
            if line is not None and line.due == due:
                return due
            heapq.heappop(self._due)
        return None

    def _wait(self, key: _Key, line: _Line, due: float) -> None:
        line.due = due
        self._waiting[key] = line
        heapq.heappush(self._due, (due, key))

    def _put(self, key: _Key, seq: int, event: JobEvent, ready: list[Event]) -> None:
        line = self._lines.setdefault(key, _Line())
        self._lines.move_to_end(key)
        if seq > line.next and seq not in line.held:
            self._hold(key, line, seq, event)
        else:
            ready.append(event)
            if seq == line.next:
                line.next += 1
            elif seq == 1:
                # The executor was started again under its old id, and counts anew.
                line.next = 2
            self._go_on(key, line, ready)
        self._forget()

    def _hold(self, key: _Key, line: _Line, seq: int, event: JobEvent) -> None:
        due = self._clock() + self._patience
        if not line.held:
            self._wait(key, line, due)
        line.held[seq] = _Held(event, due)
        self._held += 1

    def _go_on(self, key: _Key, line: _Line, ready: list[Event]) -> None:
        """Give out what was held and follows now."""
        while line.next in line.held:
            ready.append(line.held.pop(line.next).event)
            self._held -= 1
            line.next += 1
        if not line.held:
            self._waiting.pop(key, None)
        elif (due := min(held.due for held in line.held.values())) != line.due:
            self._wait(key, line, due)

    def _give_up(self, key: _Key, now: float, ready: list[Event]) -> None:
        """Give out the job's events that are due, and those that go before or follow them."""
        line = self._waiting[key]
        last = max(seq for seq, held in line.held.items() if held.due <= now)
        for seq in sorted(seq for seq in line.held if seq <= last):
            ready.append(line.held.pop(seq).event)
            self._held -= 1
        line.next = last + 1
        self._go_on(key, line, ready)

    def _forget(self) -> None:
        while len(self._lines) > REMEMBERED_JOBS:
            key = next(iter(self._lines))
            if key in self._waiting:
                self._lines.move_to_end(key)  # fewer than all: MAX_HELD
            else:
                del self._lines[key]
