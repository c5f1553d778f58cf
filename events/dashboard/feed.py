"""What is known at any moment: the events so far, folded; read by pages, tables and snapshots."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from events.dashboard.queued import DEFAULT_POOL, QueuedJobs
from events.dashboard.rates import Rates, Series, Totals
from events.job_run import Counters, ExecutorInfo, JobRun
from events.subscriber import Subscription
from events.timeline import Timeline
from events.types import Event
from messaging.errors import PortfireError

logger = logging.getLogger(__name__)

#: Failures listed; the timeline has them all.
KEPT_FAILURES = 200
#: Jobs that are remembered after their end.
KEPT_JOBS = 10_000
#: Events this old mean a replayed recording: the present is where they are.
_REPLAY_SECONDS = 60.0
_RECEIVE_SECONDS = 1.0
#: Events taken at one go, before a reader may have its turn.
_BATCH = 200
#: Over which time "now" is measured.
RATE_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """What goes on in one pool."""

    name: str
    executors: int
    slots: int
    running: int
    #: Jobs that wait, of those announced since the monitor began.
    queued: int


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Everything but the timeline, at one moment."""

    #: Seconds since the epoch.
    time: float
    pools: tuple[Pool, ...]
    executors: tuple[ExecutorInfo, ...]
    counters: Counters
    #: Over the last `RATE_SECONDS`.
    recent: Totals
    #: The last `KEPT_FAILURES`, newest first.
    failures: tuple[JobRun, ...]
    #: Why waiting jobs are not known; empty when they are.
    queue_problem: str
    #: Messages on the events topic that were no events.
    malformed: int
    #: Why nothing more will come; empty while events are followed.
    problem: str


class Feed:
    """Folds events as they come. Thread-safe.

    `add` is all that a test or a replay needs; `follow` takes them from a subscription.
    """

    def __init__(self, keep: int = KEPT_JOBS, clock: Callable[[], float] = time.time) -> None:
        self.timeline = Timeline(keep=keep)
        self.queued = QueuedJobs()
        #: Says why waiting jobs are not known; empty when they are.
        self.queue_problem: Callable[[], str] = str
        self.malformed: Callable[[], int] = int
        self._problem = ""
        self._clock = clock
        #: Guards what follows.
        self._lock = threading.Lock()
        self._rates = Rates()
        self._latest = 0.0
        self._version = 0
        self._running: dict[str, JobRun] = {}
        self._failures: deque[JobRun] = deque(maxlen=KEPT_FAILURES)

    def add(self, events: Iterable[Event]) -> None:
        """Take events, each one once."""
        with self._lock:
            for event in events:
                self.timeline.add(event, received=self._clock())
                self.queued.see(event)
                self._rates.see(event)
                self._latest = max(self._latest, event.timestamp)

    def follow(self, subscription: Subscription) -> None:
        """Take events until `subscription` is closed; blocks. For a thread of its own."""
        self.malformed = lambda: subscription.malformed
        try:
            while not subscription.closed:
                events = subscription.receive(_RECEIVE_SECONDS)
                for start in range(0, len(events), _BATCH):
                    self.add(events[start : start + _BATCH])
        except PortfireError as exc:
            self._problem = f"no more events come: {exc}"
            logger.error("%s", self._problem)

    def present(self) -> float:
        """The time up to which to draw: now, or the last event of a recording that is replayed."""
        now = self._clock()
        with self._lock:
            latest = self._latest
        return latest if 0 < latest < now - _REPLAY_SECONDS else now

    def state(self) -> State:
        """The present state."""
        self.timeline.tick(self._clock())
        present = self.present()
        with self._lock:
            counters = self._fold()
            recent = self._rates.over(present - RATE_SECONDS, present)
            running = Counter(run.pool or DEFAULT_POOL for run in self._running.values())
            failures = tuple(reversed(self._failures))
        executors = tuple(self.timeline.executors())
        return State(
            time=self._clock(),
            pools=_pools(executors, running, self.queued.by_pool()),
            executors=executors,
            counters=counters,
            recent=recent,
            failures=failures,
            queue_problem=self.queue_problem(),
            malformed=self.malformed(),
            problem=self._problem,
        )

    def series(self, start: float, end: float, points: int) -> Series:
        """Rates over time, for a chart."""
        with self._lock:
            return self._rates.series(start, end, points)

    def find_run(self, key: str) -> JobRun | None:
        """The run of this key; one that the timeline forgot, if it is among the failures."""
        run = self.timeline.run(key)
        if run is None:
            with self._lock:
                run = next((item for item in self._failures if item.key == key), None)
        return run

    def runs_of(self, job: str) -> list[JobRun]:
        """All runs of a job, by its id, in the order of their starts."""
        return [run for run in self.timeline.runs() if run.id == job]

    def search(self, text: str) -> JobRun | None:
        """The last run whose job has this id or name, or whose name has `text` in it."""
        wanted = text.strip().casefold()
        runs = self.timeline.runs()
        exact = [run for run in runs if wanted in (run.id.casefold(), (run.name or "").casefold())]
        found = exact or [run for run in runs if wanted in (run.name or "").casefold()]
        return found[-1] if wanted and found else None

    def _fold(self) -> Counters:
        """Bring what runs and what failed up to date with the timeline."""
        changes = self.timeline.changes_since(self._version)
        if changes.reset:
            self._running.clear()
            self._failures.clear()
        self._version = changes.version
        for key in changes.removed:
            self._running.pop(key, None)
        for run in changes.runs:
            if run.running:
                self._running[run.key] = run
            else:
                self._running.pop(run.key, None)
                self._failed(run)
        return changes.counters

    def _failed(self, run: JobRun) -> None:
        if not (run.failed or run.state == "lost"):
            return
        for index, known in enumerate(self._failures):
            if known.key == run.key:
                self._failures[index] = run
                return
        self._failures.append(run)


def _pools(
    executors: Iterable[ExecutorInfo], running: Counter[str], queued: Counter[str]
) -> tuple[Pool, ...]:
    alive: Counter[str] = Counter()
    slots: Counter[str] = Counter()
    for executor in executors:
        if executor.state in ("ready", "draining"):
            pool = executor.pool or DEFAULT_POOL
            alive[pool] += 1
            slots[pool] += executor.threads or 0
    return tuple(
        Pool(
            name=name,
            executors=alive[name],
            slots=slots[name],
            running=running[name],
            queued=queued[name],
        )
        for name in sorted(alive.keys() | running.keys() | queued.keys())
    )
