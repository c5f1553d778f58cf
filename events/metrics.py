"""From events to one record per finished job."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass, fields
from typing import TypeVar

from events.types import (
    Event,
    ExecutionFinished,
    ExecutionSample,
    ExecutionStarted,
    JobCancelled,
    JobEvent,
    JobFinished,
    JobRejected,
    JobReleased,
    JobStarted,
    StageFinished,
    StageStarted,
)

#: Jobs whose end is remembered, so that a late event does not open them again. Less than the
#: publisher remembers of its jobs' sequence numbers: one that starts anew must not look late.
_REMEMBERED_ENDS = 5_000

_Key = tuple[str, str]
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobMetrics:
    """What one job cost. Seconds and bytes; None where nothing is known.

    The first nine are those of hyperflow-amqp-metric-collector, in its order. Of a job with
    several tasks the phases are summed, and `executable` and `exit_code` are the last one's.
    """

    executor: str
    thread: int | str | None
    job: str
    executable: str | None
    execution: float | None
    stage_in: float | None
    stage_out: float | None
    input_size: int | None
    output_size: int | None
    name: str | None
    #: ``COMPLETED``, ``FIZZLED`` or ``FAILED``.
    state: str
    exit_code: int | None
    attempt: int | None
    #: Seconds that the job's message waited in Pub/Sub.
    queued: float | None
    #: Seconds from start to end on the executor.
    total: float | None
    #: Seconds since the epoch, UTC, by the executor's clock.
    started: float | None
    finished: float
    #: Where and why it failed.
    phase: str | None
    reason: str | None

    @classmethod
    def names(cls) -> list[str]:
        """The column names."""
        return [field.name for field in fields(cls)]

    def cells(self) -> list[str]:
        """The values, each on one line; empty where nothing is known."""
        return [_cell(getattr(self, name)) for name in self.names()]

    @classmethod
    def header(cls) -> str:
        """The column names, separated by tabs."""
        return "\t".join(cls.names())

    def row(self) -> str:
        """The values, separated by tabs; empty where nothing is known. One line."""
        return "\t".join(self.cells())


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6f}"
    return " ".join(str(value).split())


class MetricsCollector:
    """Gathers the events of jobs and gives one `JobMetrics` for each ``job.finished``.

    Events may come in any order and more than once: a record is given out when all events of the
    job between its start and its end are there, or `patience` seconds after its end came. At most
    `max_jobs` unfinished jobs are kept; beyond, the one silent for longest is dropped and counted
    in `dropped`. Not thread-safe.
    """

    def __init__(
        self,
        max_jobs: int = 20_000,
        patience: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.dropped = 0
        self._max_jobs = max_jobs
        self._patience = patience
        self._clock = clock
        #: By executor and job; by event id.
        self._open: OrderedDict[_Key, dict[str, JobEvent]] = OrderedDict()
        #: Numbers of samples of open jobs, which are many and tell nothing else that is wanted.
        self._samples: dict[_Key, set[int]] = {}
        #: When patience with an ended job ends, earliest first.
        self._due: dict[_Key, float] = {}
        #: Place of the last event given out.
        self._ends: OrderedDict[_Key, float] = OrderedDict()

    def add(self, event: Event) -> list[JobMetrics]:
        """Take an event; returns the records that are ready now."""
        records: list[JobMetrics] = []
        if isinstance(event, JobEvent) and not isinstance(event, JobRejected):
            key = (event.executor, event.id)
            if _place(event) > self._ends.get(key, -1.0):
                self._keep(key, event)
            records += self._ready(key)
        return records + self.overdue()

    def overdue(self) -> list[JobMetrics]:
        """The records of ended jobs whose missing events nobody waits for any more."""
        now = self._clock()
        late = []
        for key, due in self._due.items():
            if due > now:
                break
            late.append(key)
        return [record for key in late for record in self._ready(key, whole=False)]

    def flush(self) -> list[JobMetrics]:
        """The records of all ended jobs, whole or not."""
        return [record for key in list(self._due) for record in self._ready(key, whole=False)]

    def _keep(self, key: _Key, event: JobEvent) -> None:
        if isinstance(event, ExecutionSample):
            if event.seq is not None and key in self._open:
                self._samples.setdefault(key, set()).add(event.seq)
            return
        self._open.setdefault(key, {})[event.event_id] = event
        # A job that was given back or cancelled will most likely not end here.
        self._open.move_to_end(key, last=not isinstance(event, JobReleased | JobCancelled))
        if isinstance(event, JobFinished):
            self._due.setdefault(key, self._clock() + self._patience)
        while len(self._open) > self._max_jobs:
            oldest, _ = self._open.popitem(last=False)
            self._due.pop(oldest, None)
            self._samples.pop(oldest, None)
            self.dropped += 1

    def _ready(self, key: _Key, whole: bool = True) -> list[JobMetrics]:
        """Give out the ended runs of a job; with `whole` only those that miss no event."""
        if key not in self._due:
            return []
        records: list[JobMetrics] = []
        events = sorted(self._open[key].values(), key=_place)
        for end in [event for event in events if isinstance(event, JobFinished)]:
            run = _last_run([event for event in events if _place(event) <= _place(end)])
            if whole and not _is_whole(run, self._samples.get(key, set())):
                return records
            records.append(_measure(run, end))
            events = [event for event in events if _place(event) > _place(end)]
            self._close(key, end, events)
        return records

    def _close(self, key: _Key, end: JobFinished, left: Sequence[JobEvent]) -> None:
        self._ends.pop(key, None)
        self._ends[key] = _place(end)
        if len(self._ends) > _REMEMBERED_ENDS:
            self._ends.popitem(last=False)
        self._open[key] = {event.event_id: event for event in left}
        if not left:
            del self._open[key]
            self._samples.pop(key, None)
        if not any(isinstance(event, JobFinished) for event in left):
            self._due.pop(key, None)


def _place(event: JobEvent) -> float:
    """Where the event stands among its job's."""
    return event.timestamp if event.seq is None else event.seq


def _last_run(events: Sequence[JobEvent]) -> Sequence[JobEvent]:
    """The events from the last start on: before it the job may have been given back."""
    starts = [index for index, event in enumerate(events) if isinstance(event, JobStarted)]
    return events[starts[-1] :] if starts else events


def _is_whole(run: Sequence[JobEvent], others: Set[int]) -> bool:
    """Whether no number is missing between its ends; `others` are known of beside its events."""
    first, last = run[0], run[-1]
    if first.seq is None or last.seq is None:
        return False
    if first.seq > 1 and not isinstance(first, JobStarted):
        return False
    wanted = set(range(first.seq, last.seq + 1))
    return wanted <= {event.seq for event in run} | others


def _measure(run: Sequence[JobEvent], end: JobFinished) -> JobMetrics:
    seconds, sizes = _phases(run)
    executions = [e for e in run if isinstance(e, ExecutionStarted | ExecutionFinished)]
    exits = [e.exit_code for e in executions if isinstance(e, ExecutionFinished)]
    start = run[0] if isinstance(run[0], JobStarted) else None
    return JobMetrics(
        executor=end.executor,
        job=end.id,
        thread=end.thread,
        name=_last(event.name for event in run),
        attempt=_last(event.attempt for event in run),
        executable=_last(event.executable for event in executions),
        execution=seconds.get("execution"),
        stage_in=seconds.get("stage-in"),
        stage_out=seconds.get("stage-out"),
        input_size=sizes.get("stage-in"),
        output_size=sizes.get("stage-out"),
        exit_code=exits[-1] if exits else None,
        state=end.state,
        queued=start.queued if start else None,
        total=max(0.0, end.timestamp - start.timestamp) if start else None,
        started=start.timestamp if start else None,
        finished=end.timestamp,
        phase=end.phase,
        reason=end.reason,
    )


def _phases(run: Sequence[JobEvent]) -> tuple[dict[str, float], dict[str, int]]:
    """Seconds and bytes by phase; where an end says no time, that since its start."""
    seconds: dict[str, float] = {}
    sizes: dict[str, int] = {}
    starts: dict[str, float] = {}
    for event in run:
        phase = event.type.removeprefix("job.").partition(".")[0]
        if isinstance(event, StageStarted | ExecutionStarted):
            starts[phase] = event.timestamp
        elif isinstance(event, StageFinished | ExecutionFinished):
            spent = event.time
            if spent is None and phase in starts:
                spent = event.timestamp - starts.pop(phase)
            if spent is not None:
                seconds[phase] = seconds.get(phase, 0.0) + max(0.0, spent)
            if isinstance(event, StageFinished) and event.bytes is not None:
                sizes[phase] = sizes.get(phase, 0) + event.bytes
    return seconds, sizes


def _last(values: Iterable[_T | None]) -> _T | None:
    """The last that is known."""
    return next((value for value in reversed(list(values)) if value is not None), None)
