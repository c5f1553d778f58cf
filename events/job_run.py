"""What a timeline is made of: the runs of jobs, their phases, and the executors. All are values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

SpanPhase = Literal["queued", "stage-in", "execution", "stage-out"]
#: In the order in which a job goes through them.
PHASES: tuple[SpanPhase, ...] = ("queued", "stage-in", "execution", "stage-out")
#: The phases in which a slot works.
SLOT_PHASES: tuple[SpanPhase, ...] = ("stage-in", "execution", "stage-out")

RunState = Literal[
    "running", "COMPLETED", "FIZZLED", "FAILED", "released", "cancelled", "rejected", "lost"
]
#: States of a job that went wrong.
FAILURES: frozenset[RunState] = frozenset({"FIZZLED", "FAILED", "rejected"})

ExecutorState = Literal["ready", "draining", "stopped", "lost"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One phase of one run. A job with several tasks has several of the same phase."""

    phase: SpanPhase
    #: Seconds since the epoch, UTC, by the executor's clock.
    start: float
    #: Never negative. Of an `open` span: up to the last that is known of it.
    seconds: float
    #: Whether it goes on: draw it to the present.
    open: bool = False
    #: Bytes transferred so far; None where nothing is known, and for other phases.
    bytes: int | None = None
    error: str | None = None

    @property
    def end(self) -> float:
        """Seconds since the epoch; never before `start`."""
        return self.start + self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRun:
    """One run of a job on one executor: one bar. A job that was given back or lost has several."""

    #: Unique in the timeline, and the same for as long as the run is known.
    key: str
    #: The job's correlation id.
    id: str
    name: str | None
    executor: str
    #: The executor's, as far as it said so.
    pool: str | None
    #: The executor's slot.
    thread: int | str | None
    #: The how-manieth claim of a launch; None for raw jobs.
    attempt: int | None
    #: ``lost``: nobody told its end, and nobody will; it ends where the executor was last heard of,
    #: or where its lease was lost.
    state: RunState
    #: Where it is or, of a failure, where it failed: a phase or ``job``; None when it went well.
    phase: str | None
    #: Why it failed, was given back, cancelled or is taken for lost. One line.
    reason: str | None
    #: Seconds since the epoch, UTC, by the executor's clock.
    started: float
    #: None while it runs; never before `started` or before the end of a span.
    ended: float | None
    #: In the order of their starts. The time in the queue comes before `started`.
    spans: tuple[Span, ...]
    #: What the last task runs: a program, an image or a Firetask.
    executable: str | None = None
    exit_code: int | None = None
    #: Bytes staged in and out; None where nothing is known.
    input_bytes: int | None = None
    output_bytes: int | None = None
    #: Those of the `input_bytes` that came from the executor's cache.
    cached_bytes: int | None = None
    #: What it printed last, where the events say it.
    output: str | None = None
    #: The last execution's resource figures, as the executor gave them.
    metrics: Mapping[str, Any] = field(default_factory=dict)
    #: Seconds for which it pulled an image.
    image_pull: float | None = None
    #: The timeline's version in which this run last changed.
    version: int = field(default=0, compare=False)

    @property
    def running(self) -> bool:
        """Whether it goes on."""
        return self.state == "running"

    @property
    def failed(self) -> bool:
        """Whether the job itself went wrong (a lost or given back one did not)."""
        return self.state in FAILURES

    def seconds(self, phase: SpanPhase) -> float | None:
        """Seconds in all spans of `phase`; None when it has none."""
        found = [span.seconds for span in self.spans if span.phase == phase]
        return sum(found) if found else None

    @property
    def total(self) -> float | None:
        """Seconds from start to end; None while it runs."""
        return None if self.ended is None else self.ended - self.started


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorInfo:
    """What is known of one executor."""

    id: str
    host: str | None = None
    pool: str | None = None
    #: Slots; None before it said so: count the `JobRun.thread` seen.
    threads: int | None = None
    #: Slots that run a job, bytes of memory, bytes free on disk, load average: by its last
    #: heartbeat.
    busy: int | None = None
    memory: int | None = None
    disk: int | None = None
    load: float | None = None
    lost_events: int | None = None
    #: ``lost``: silent for too long, without having said that it stopped.
    state: ExecutorState = "ready"
    #: Why it drains or stopped.
    reason: str | None = None
    #: Its first and last event, seconds since the epoch by its own clock.
    first_seen: float = 0.0
    last_seen: float = 0.0
    #: When it was last heard of by our clock: heartbeat age = now - heard.
    heard: float = 0.0
    version: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """Totals since the beginning, runs that are forgotten by now included."""

    running: int = 0
    completed: int = 0
    #: FIZZLED and FAILED.
    failed: int = 0
    released: int = 0
    cancelled: int = 0
    rejected: int = 0
    lost: int = 0
    #: Bytes staged in and out by runs that ended.
    input_bytes: int = 0
    output_bytes: int = 0

    @property
    def ended(self) -> int:
        """Runs that ended, however."""
        return (
            self.completed
            + self.failed
            + self.released
            + self.cancelled
            + self.rejected
            + self.lost
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What differs from an earlier version of a timeline."""

    #: Ask for changes since this one the next time.
    version: int
    #: Whether that earlier version is too old to tell the difference: `runs` and `executors` are
    #: all there are, and whatever else you have is gone.
    reset: bool
    #: New and changed, the last changed last.
    runs: tuple[JobRun, ...]
    executors: tuple[ExecutorInfo, ...]
    #: Keys of runs that are forgotten or became another's part.
    removed: tuple[str, ...]
    counters: Counters
