"""Feeds exporters: from one subscription, or from any events."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from events.exporters.contract import Exporter
from events.exporters.ended_runs import SETTLE_SECONDS, Ended, EndedRuns
from events.exporters.measuring import Measuring
from events.exporters.meters import Meter
from events.job_run import Counters
from events.metrics import JobMetrics, MetricsCollector
from events.subscriber import Subscription
from events.timeline import Timeline
from events.types import Event

log = logging.getLogger(__name__)

#: How often exporters are flushed, and a stop is looked for.
ROUND_SECONDS = 1.0
#: Ended jobs that are remembered; enough for their late events.
_KEEP = 5_000


class Collection:
    """Turns events into what exporters take. Not thread-safe.

    A job counts once: where it ends, when it has. What ended before the first event came is unknown
    to it, so a collector that is started again counts nothing twice.
    """

    def __init__(
        self,
        exporters: Sequence[Exporter],
        settle: float = SETTLE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._exporters = exporters
        self._timeline = Timeline(keep=_KEEP)
        self._runs = EndedRuns(self._timeline, clock, settle)
        self._measuring = Measuring(self._record)
        self._jobs = MetricsCollector(clock=clock)
        self._malformed = 0

    def take(self, events: Iterable[Event], malformed: int = 0) -> None:
        """Take what came, in any order but nothing twice. Call it every second, come what may.

        `malformed` is the number of messages so far that were no events.
        """
        now = time.time()
        for event in events:
            self._timeline.add(event, now)
            self._measuring.event(event)
            for exporter in self._exporters:
                exporter.event(event)
            self._finished(self._jobs.add(event))
        if malformed > self._malformed:
            self._measuring.malformed(malformed - self._malformed)
            self._malformed = malformed
        self._finished(self._jobs.overdue())
        self._timeline.tick(now)
        self._ended(self._runs.poll())
        self._hand_on(now)

    def finish(self) -> None:
        """No more events come: hand on what waited for others. Leaves the exporters open."""
        self._finished(self._jobs.flush())
        self._ended(self._runs.flush())
        self._hand_on(time.time())

    def counters(self) -> Counters:
        """Totals, for people."""
        return self._timeline.counters()

    def _hand_on(self, now: float) -> None:
        self._measuring.gauges(self._timeline.executors(), self._runs.running.values(), now)
        for exporter in self._exporters:
            exporter.flush()

    def _record(self, meter: Meter, value: float, labels: Mapping[str, str]) -> None:
        for exporter in self._exporters:
            exporter.record(meter, value, labels)

    def _finished(self, jobs: Iterable[JobMetrics]) -> None:
        for job in jobs:
            for exporter in self._exporters:
                exporter.finished(job)

    def _ended(self, runs: Iterable[Ended]) -> None:
        for ended in runs:
            self._measuring.ended(ended.run, ended.again)
            for exporter in self._exporters:
                exporter.ended(ended.run)


def collect(
    subscription: Subscription,
    exporters: Sequence[Exporter],
    stop: threading.Event,
    on_round: Callable[[Counters], None] = lambda _counters: None,
) -> None:
    """Feed `exporters` from `subscription` until `stop` is set or it is closed; then close both.

    Raises UsageError when Pub/Sub refuses (a permission was withdrawn).
    """
    collection = Collection(exporters)
    try:
        # What exporters show at once need not wait for the first event.
        collection.take([])
        while not stop.is_set() and not subscription.closed:
            events = subscription.receive(ROUND_SECONDS)
            collection.take(events, subscription.malformed)
            on_round(collection.counters())
    finally:
        subscription.close()
        collection.take(subscription.receive(), subscription.malformed)
        collection.finish()
        for exporter in exporters:
            exporter.close()
