"""Throughput and bytes per second over time, from the events as they come."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass, field

from events.types import Event, JobFinished, StageFinished, StageProgress

#: Events are counted by the second of their executor's clock.
BUCKET_SECONDS = 1
_KEPT_BUCKETS = 6 * 3600
_REMEMBERED_TRANSFERS = 20_000


@dataclass(slots=True)
class Totals:
    """What happened in some time."""

    completed: int = 0
    failed: int = 0
    bytes_in: int = 0
    bytes_out: int = 0

    def add(self, other: Totals) -> None:
        """Count `other` in."""
        self.completed += other.completed
        self.failed += other.failed
        self.bytes_in += other.bytes_in
        self.bytes_out += other.bytes_out


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Rates per second; all columns have the same length. `time` is each interval's beginning."""

    time: list[float] = field(default_factory=list)
    completed: list[float] = field(default_factory=list)
    failed: list[float] = field(default_factory=list)
    bytes_in: list[float] = field(default_factory=list)
    bytes_out: list[float] = field(default_factory=list)


class Rates:
    """Counts by the second, for the last six hours. Not thread-safe.

    A long transfer counts when its progress is told, not all at its end.
    """

    def __init__(self) -> None:
        self._buckets: OrderedDict[int, Totals] = OrderedDict()
        #: Bytes told so far of a transfer that goes on, by executor, job and event type.
        self._transfers: OrderedDict[tuple[str, str, str], int] = OrderedDict()

    def see(self, event: Event) -> None:
        """Count an event; each one once."""
        if isinstance(event, JobFinished):
            good = event.state == "COMPLETED"
            self._bucket(event.timestamp).add(Totals(completed=int(good), failed=int(not good)))
        elif isinstance(event, StageProgress | StageFinished):
            self._transferred(event)

    def over(self, start: float, end: float) -> Totals:
        """What happened from `start` to before `end` (seconds since the epoch)."""
        totals = Totals()
        for second in range(math.floor(start), math.ceil(end), BUCKET_SECONDS):
            if bucket := self._buckets.get(second):
                totals.add(bucket)
        return totals

    def series(self, start: float, end: float, points: int) -> Series:
        """Rates between two times in at most `points` equal intervals of whole seconds."""
        step = max(BUCKET_SECONDS, math.ceil((end - start) / points))
        # On a grid that does not move with `start`, lest the line change its shape as time goes on.
        first = math.floor(start / step) * step
        times = list(range(first, math.ceil(end), step))
        totals = {time: Totals() for time in times}
        for second, bucket in self._buckets.items():
            if (interval := totals.get(second - second % step)) is not None:
                interval.add(bucket)
        return Series(
            time=[float(time) for time in times],
            completed=[totals[time].completed / step for time in times],
            failed=[totals[time].failed / step for time in times],
            bytes_in=[totals[time].bytes_in / step for time in times],
            bytes_out=[totals[time].bytes_out / step for time in times],
        )

    def _transferred(self, event: StageProgress | StageFinished) -> None:
        phase = event.type.rpartition(".")[0]
        key = (event.executor, event.id, phase)
        if event.bytes is None:
            return
        told = self._transfers.pop(key, 0)
        fresh = max(0, event.bytes - told)
        if isinstance(event, StageProgress):
            self._transfers[key] = told + fresh
            if len(self._transfers) > _REMEMBERED_TRANSFERS:
                self._transfers.popitem(last=False)
        inwards = phase == "job.stage-in"
        self._bucket(event.timestamp).add(
            Totals(bytes_in=fresh if inwards else 0, bytes_out=0 if inwards else fresh)
        )

    def _bucket(self, timestamp: float) -> Totals:
        second = math.floor(timestamp)
        if second not in self._buckets:
            self._buckets[second] = Totals()
            while len(self._buckets) > _KEPT_BUCKETS:
                self._buckets.popitem(last=False)
        return self._buckets[second]
