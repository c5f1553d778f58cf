"""Watches a run by its events: a live line on a terminal, and the records for the summary."""

from __future__ import annotations

import dataclasses
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack

from rich.console import Console
from rich.live import Live
from rich.text import Text

from events.metrics import JobMetrics, MetricsCollector
from events.subscriber import Subscription
from events.types import Event

#: How long to wait at the end for the last events, in seconds.
_LAST_EVENTS_SECONDS = 3.0
_KEPT_RECORDS = 10_000


class Monitor:
    """Collects the job records of one run. Started by its constructor; `finish` ends it.

    On a terminal (standard error) a line shows what runs and what has ended; in a pipe it is quiet.
    """

    def __init__(
        self,
        subscription: Subscription,
        on_record: Callable[[JobMetrics], None] | None = None,
        on_event: Callable[[Event], None] | None = None,
    ) -> None:
        """Both are called from the watching thread: with every finished job, with every event."""
        #: By job; the last word on each counts. The dispatcher may have one after the executor's.
        self._records: dict[str, JobMetrics] = {}
        self._subscription = subscription
        self._on_record = on_record
        self._on_event = on_event
        self._collector = MetricsCollector()
        self._running: dict[str, str] = {}
        self._finished = 0
        self._failed = 0
        self._executor_stopped = threading.Event()
        self._screen = ExitStack()
        self._live: Live | None = None
        if sys.stderr.isatty():
            self._live = Live(
                self._line(), console=Console(stderr=True), refresh_per_second=8, transient=True
            )
            self._screen.enter_context(self._live)
        self._thread = subscription.watch(self._see)

    @property
    def records(self) -> list[JobMetrics]:
        """The records of the jobs that have ended, one for each, 10,000 at most."""
        return list(self._records.values())

    def finish(self) -> None:
        """Wait for the executor's last event, a few seconds at most, and end. Idempotent."""
        self._executor_stopped.wait(_LAST_EVENTS_SECONDS)
        self.close()
        for record in self._collector.flush():
            self._keep(record)

    def close(self) -> None:
        """End at once. Idempotent."""
        self._subscription.close()
        self._screen.close()

    def _see(self, event: Event) -> None:
        if self._on_event is not None:
            self._on_event(event)
        if event.type == "job.started" and event.job:
            self._running[event.job] = str(getattr(event, "name", None) or event.job)
        elif event.type in ("job.finished", "job.released", "job.cancelled") and event.job:
            self._running.pop(event.job, None)
        elif event.type == "executor.stopped":
            self._executor_stopped.set()
        for record in self._collector.add(event):
            self._keep(record)
        if self._live is not None:
            self._live.update(self._line())

    def _keep(self, record: JobMetrics) -> None:
        earlier = self._records.get(record.job)
        self._finished += earlier is None
        self._failed += (record.state != "COMPLETED") - (
            earlier is not None and earlier.state != "COMPLETED"
        )
        if earlier is not None or len(self._records) < _KEPT_RECORDS:
            self._records[record.job] = _merged(earlier, record)
        if self._on_record is not None:
            self._on_record(record)

    def _line(self) -> Text:
        names = ", ".join(list(self._running.values())[:6])
        text = Text(f"{self._finished} finished", style="bold")
        if self._failed:
            text.append(f", {self._failed} failed", style="red")
        return text.append(f" · {len(self._running)} running {names}", style="dim")


def _merged(one: JobMetrics | None, other: JobMetrics) -> JobMetrics:
    """The later end, with what only the executor knew. Either may have come first."""
    if one is None:
        return other
    earlier, later = sorted((one, other), key=lambda record: record.finished)
    return dataclasses.replace(
        earlier, state=later.state, phase=later.phase, reason=later.reason, name=later.name
    )
