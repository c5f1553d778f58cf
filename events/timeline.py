"""From events to a timeline: what ran where and when; for the monitor, the report and exporters.

    timeline = Timeline()
    timeline.add(event)                    # in any order, as often as you like
    timeline.tick(time.time())             # live only: finds executors that fell silent
    changes = timeline.changes_since(0)    # everything; afterwards changes_since(changes.version)

The values (`JobRun`, `Span`, `ExecutorInfo`, `Counters`, `Changes`) are those of `events.job_run`.
As long as nothing is forgotten, the same events give the same timeline in whatever order they come.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict, deque
from dataclasses import dataclass, field, replace

from events.executor_facts import ExecutorFacts
from events.facts import JobFacts, fact_of
from events.folding import fold
from events.job_run import Changes, Counters, ExecutorInfo, JobRun
from events.losses import DISPATCHER
from events.types import Event, JobEvent

#: Seconds without a word after which an executor is taken for lost: three heartbeats.
SILENT_SECONDS = 90.0
#: Jobs that may wait to be looked at before somebody asks.
_MOST_DIRTY = 2_000
#: Names that are remembered of forgotten jobs, for each that is kept.
_FORGOTTEN_PER_KEPT = 5


class Timeline:
    """Folds events into runs of jobs, executors and counters. Thread-safe; nothing blocks."""

    def __init__(self, keep: int = 10_000, silent_seconds: float = SILENT_SECONDS) -> None:
        """Keep the `keep` jobs that ended last, and all that run."""
        self._keep = keep
        self._silent_seconds = silent_seconds
        self._lock = threading.Lock()  # guards all below
        self._version = 0
        self._jobs: dict[str, _Job] = {}
        self._executors: dict[str, ExecutorFacts] = {}
        #: Jobs to fold again.
        self._dirty: dict[str, None] = {}
        #: The runs by key, the last changed last.
        self._runs: OrderedDict[str, JobRun] = OrderedDict()
        #: Jobs of which nothing runs, in the order of their ends.
        self._ended: OrderedDict[str, None] = OrderedDict()
        #: Jobs with running, and with lost runs, by executor.
        self._unsettled: dict[str, set[str]] = {}
        self._lost: dict[str, set[str]] = {}
        #: When forgotten jobs were last heard of, so that late events do not bring them back.
        self._forgotten: OrderedDict[str, float] = OrderedDict()
        self._removed: deque[tuple[int, str]] = deque()
        self._removed_floor = 0
        self._totals: Counter[str] = Counter()

    def add(self, event: Event, received: float | None = None) -> None:
        """Take an event, `received` at this time (epoch seconds by our clock; else its own)."""
        with self._lock:
            self._see_executor(event, event.timestamp if received is None else received)
            if isinstance(event, JobEvent):
                self._see_job(event)
            if len(self._dirty) >= _MOST_DIRTY:
                self._settle()

    def tick(self, now: float) -> None:
        """It is `now` (the clock of `received`): executors silent for too long are lost."""
        with self._lock:
            for executor in self._executors.values():
                if executor.check(now, self._silent_seconds):
                    self._touch(executor)
                    self._doubt(executor.id)

    @property
    def version(self) -> int:
        """Grows with every change."""
        with self._lock:
            self._settle()
            return self._version

    def runs(self) -> list[JobRun]:
        """All runs, in the order of their starts."""
        with self._lock:
            self._settle()
            found = list(self._runs.values())
        return sorted(found, key=lambda run: (run.started, run.key))

    def executors(self) -> list[ExecutorInfo]:
        """All executors, in the order of their first events."""
        with self._lock:
            found = [executor.info() for executor in self._executors.values()]
        return sorted(found, key=lambda info: (info.first_seen, info.id))

    def run(self, key: str) -> JobRun | None:
        """The run of this key."""
        with self._lock:
            self._settle()
            return self._runs.get(key)

    def counters(self) -> Counters:
        """Totals."""
        with self._lock:
            self._settle()
            return self._counters()

    def changes_since(self, version: int) -> Changes:
        """What changed after `version`; 0 gives everything."""
        with self._lock:
            self._settle()
            reset = not self._removed_floor <= version <= self._version or version == 0
            since = 0 if reset else version
            runs = []
            for run in reversed(self._runs.values()):
                if run.version <= since:
                    break
                runs.append(run)
            executors = (info for info in self._executors.values() if info.version > since)
            return Changes(
                version=self._version,
                reset=reset,
                runs=tuple(reversed(runs)),
                executors=tuple(executor.info() for executor in executors),
                removed=() if reset else self._removed_since(since),
                counters=self._counters(),
            )

    def _see_executor(self, event: Event, received: float) -> None:
        if event.executor == DISPATCHER:
            return  # it runs nothing, and its clock is its own
        executor = self._executors.get(event.executor)
        if executor is None:
            executor = self._executors[event.executor] = ExecutorFacts(event.executor)
        pool = executor.pool
        if executor.see(event, received):
            self._doubt(executor.id)
        elif executor.id in self._lost:
            # Lost runs end where their executor was last heard of.
            self._dirty.update(dict.fromkeys(self._lost[executor.id]))
        if executor.pool != pool:
            self._dirty.update(
                (name, None) for name, job in self._jobs.items() if executor.id in job.executors
            )
        self._touch(executor)

    def _see_job(self, event: JobEvent) -> None:
        fact = fact_of(event)
        # A message that is no job may have no id either.
        name = event.id or event.event_id
        if fact is None or event.timestamp <= self._forgotten.get(name, -1.0):
            return
        job = self._jobs.get(name)
        if job is None:
            job = self._jobs[name] = _Job()
        if job.facts.add(fact):
            job.executors.add(event.executor)
            job.last_heard = max(job.last_heard, event.timestamp)
            self._dirty[name] = None

    def _touch(self, executor: ExecutorFacts) -> None:
        self._version += 1
        executor.version = self._version

    def _doubt(self, executor: str) -> None:
        """What this executor's unended runs are may have changed."""
        self._dirty.update(dict.fromkeys(self._unsettled.get(executor, ())))
        self._dirty.update(dict.fromkeys(self._lost.get(executor, ())))

    def _settle(self) -> None:
        """Fold what has changed, and forget what is too much."""
        surroundings = _Executors(self._executors)
        for name in self._dirty:
            job = self._jobs.get(name)
            if job is not None:
                runs = fold(name, job.facts, surroundings)
                self._replace(name, job, {run.key: run for run in runs})
        self._dirty.clear()
        while len(self._ended) > self._keep:
            self._forget(next(iter(self._ended)))

    def _replace(self, name: str, job: _Job, runs: dict[str, JobRun]) -> None:
        for key, run in runs.items():
            earlier = self._runs.get(key)
            if earlier == run:
                continue
            self._count(earlier, -1)
            self._count(run, +1)
            self._version += 1
            self._runs[key] = replace(run, version=self._version)
            self._runs.move_to_end(key)
        for key in job.keys - runs.keys():
            self._count(self._runs[key], -1)
            self._remove(key)
        job.keys = set(runs)
        self._index(name, job, list(runs.values()))

    def _index(self, name: str, job: _Job, runs: list[JobRun]) -> None:
        _enter(self._unsettled, name, job.executors, {run.executor for run in runs if run.running})
        lost = {run.executor for run in runs if run.state == "lost"}
        _enter(self._lost, name, job.executors, lost)
        if any(run.running for run in runs):
            self._ended.pop(name, None)
        else:
            self._ended.setdefault(name)

    def _forget(self, name: str) -> None:
        job = self._jobs.pop(name)
        del self._ended[name]
        _enter(self._lost, name, job.executors, set())
        for key in job.keys:
            self._remove(key)
        self._forgotten[name] = job.last_heard
        if len(self._forgotten) > _FORGOTTEN_PER_KEPT * self._keep:
            self._forgotten.popitem(last=False)

    def _remove(self, key: str) -> None:
        del self._runs[key]
        self._version += 1
        self._removed.append((self._version, key))
        if len(self._removed) > self._keep:
            self._removed_floor, _ = self._removed.popleft()

    def _removed_since(self, version: int) -> tuple[str, ...]:
        keys = dict.fromkeys(key for at, key in self._removed if at > version)
        return tuple(key for key in keys if key not in self._runs)

    def _count(self, run: JobRun | None, by: int) -> None:
        if run is None:
            return
        self._totals[run.state] += by
        if not run.running:
            self._totals["input_bytes"] += by * (run.input_bytes or 0)
            self._totals["output_bytes"] += by * (run.output_bytes or 0)

    def _counters(self) -> Counters:
        totals = self._totals
        return Counters(
            running=totals["running"],
            completed=totals["COMPLETED"],
            failed=totals["FIZZLED"] + totals["FAILED"],
            released=totals["released"],
            cancelled=totals["cancelled"],
            rejected=totals["rejected"],
            lost=totals["lost"],
            input_bytes=totals["input_bytes"],
            output_bytes=totals["output_bytes"],
        )


@dataclass(slots=True)
class _Job:
    """What is kept of one job."""

    facts: JobFacts = field(default_factory=JobFacts)
    executors: set[str] = field(default_factory=set)
    #: Of its runs.
    keys: set[str] = field(default_factory=set)
    last_heard: float = 0.0


class _Executors:
    """`Surroundings` from what is known of all executors."""

    def __init__(self, executors: dict[str, ExecutorFacts]) -> None:
        self._executors = executors

    def pool(self, executor: str) -> str | None:
        found = self._executors.get(executor)
        return found.pool if found else None

    def gone(self, executor: str, since: float) -> tuple[float, str] | None:
        return self._executors[executor].gone(since)

    def last_seen(self, executor: str) -> float:
        return self._executors[executor].last_seen

    def moved_on(self, executor: str, thread: int | str | None, since: float) -> bool:
        return self._executors[executor].moved_on(thread, since)


def _enter(index: dict[str, set[str]], job: str, executors: set[str], belongs_to: set[str]) -> None:
    """Have `job` in the index under those of its `executors` that it belongs to, no others."""
    for executor in executors:
        if executor in belongs_to:
            index.setdefault(executor, set()).add(job)
        elif executor in index:
            index[executor].discard(job)
            if not index[executor]:
                del index[executor]
