"""From events, runs and executors to measurements."""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping

from events.exporters import meters
from events.exporters.labels import OTHER, UNKNOWN, LabelValues
from events.exporters.meters import Meter
from events.job_run import PHASES, SLOT_PHASES, ExecutorInfo, JobRun
from events.losses import DISPATCHER
from events.types import (
    EVENT_TYPES,
    Event,
    ExecutorHeartbeat,
    ExecutorReady,
    ExecutorStopped,
    StageFinished,
)

Record = Callable[[Meter, float, Mapping[str, str]], None]

#: A lost executor is no news after this time, seconds.
FORGET_SECONDS = 3600.0
_STATES = ("ready", "draining", "lost")
_REMEMBERED_BACKENDS = 20_000


class Measuring:
    """Tells `record` what is to be measured. Not thread-safe."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._pools = LabelValues()
        self._backends = LabelValues()
        self._types = LabelValues(EVENT_TYPES)
        #: Pools that gauges have been told of: they go back to 0, they do not vanish.
        self._gauged: set[str] = set()
        #: Each executor's own count, and pool.
        self._lost_events: dict[str, int] = {}
        self._pool_of: dict[str, str] = {}
        #: Where a stage's files were, by executor, job and phase.
        self._stored: OrderedDict[tuple[str, str | None, str], str] = OrderedDict()

    def event(self, event: Event) -> None:
        """An event came, for the first time."""
        self._record(meters.EVENTS, 1, {"type": self._types.value(event.type)})
        if isinstance(event, StageFinished):
            self._see_backend(event)
        elif isinstance(event, ExecutorReady | ExecutorHeartbeat | ExecutorStopped):
            if not isinstance(event, ExecutorStopped) and event.pool:
                self._pool_of[event.executor] = event.pool
            self._see_lost(event)

    def malformed(self, number: int) -> None:
        """So many messages were no events."""
        self._record(meters.EVENTS_MALFORMED, number, {})

    def ended(self, run: JobRun, again: bool = False) -> None:
        """A run ended; `again`: it was counted before, in another state."""
        pool = self._pools.value(run.pool)
        self._record(meters.JOBS, 1, {"pool": pool, "state": run.state})
        if run.failed and run.state != "rejected":
            self._record(meters.JOB_FAILURES, 1, {"pool": pool, "phase": run.phase or "job"})
        if again or run.executor == DISPATCHER:
            return
        if run.total is not None and run.state != "rejected":
            self._record(meters.JOB_SECONDS, run.total, {"pool": pool, "state": run.state})
        self._phases(run, pool)
        self._bytes(run, pool)
        used = run.metrics.get("cpu_seconds")
        if isinstance(used, int | float) and 0 < used < math.inf:
            self._record(meters.CPU_SECONDS, used, {"pool": pool})

    def gauges(
        self, executors: Iterable[ExecutorInfo], running: Iterable[JobRun], now: float
    ) -> None:
        """How things stand at `now` (epoch seconds)."""
        pools: dict[str, list[ExecutorInfo]] = {}
        for info in executors:
            if info.state != "stopped" and now - info.heard < FORGET_SECONDS:
                pools.setdefault(self._pools.value(info.pool), []).append(info)
        phases = Counter((self._pools.value(run.pool), run.phase or OTHER) for run in running)
        self._gauged |= pools.keys() | {pool for pool, _ in phases}
        for pool in sorted(self._gauged):
            busy = sum(number for (of, _), number in phases.items() if of == pool)
            self._executors(pool, pools.get(pool, []), busy, now)
            for phase in (*SLOT_PHASES, OTHER):
                labels = {"pool": pool, "phase": phase}
                self._record(meters.JOBS_RUNNING, phases[pool, phase], labels)

    def _executors(self, pool: str, infos: list[ExecutorInfo], busy: int, now: float) -> None:
        states: Counter[str] = Counter(info.state for info in infos)
        for state in _STATES:
            self._record(meters.EXECUTORS, states[state], {"pool": pool, "state": state})
        live = [info for info in infos if info.state != "lost"]
        threads = sum(info.threads or 0 for info in live)
        # By the jobs that run, not by heartbeats: those are half a minute old.
        slots = {"busy": min(busy, threads), "idle": max(0, threads - busy)}
        for state, number in slots.items():
            self._record(meters.SLOTS, number, {"pool": pool, "state": state})
        told = {"pool": pool}
        memory = [info.memory for info in live if info.memory is not None]
        disk = [info.disk for info in live if info.disk is not None]
        if memory or not live:
            self._record(meters.MEMORY, max(memory, default=0), told)
        if disk or not live:
            self._record(meters.DISK_FREE, min(disk, default=0), told)
        silence = max((now - info.heard for info in infos), default=0.0)
        self._record(meters.SILENCE, max(0.0, silence), told)

    def _phases(self, run: JobRun, pool: str) -> None:
        seconds: dict[str, float | None] = {phase: run.seconds(phase) for phase in PHASES}
        seconds["image-pull"] = run.image_pull
        for phase, spent in seconds.items():
            if spent is not None:
                self._record(meters.PHASE_SECONDS, spent, {"pool": pool, "phase": phase})

    def _bytes(self, run: JobRun, pool: str) -> None:
        for phase, moved in (("stage-in", run.input_bytes), ("stage-out", run.output_bytes)):
            backend = self._stored.pop((run.executor, run.id, phase), UNKNOWN)
            if moved is not None and moved > 0:
                labels = {"pool": pool, "phase": phase, "backend": backend}
                self._record(meters.BYTES, moved, labels)
        if run.cached_bytes is not None and run.cached_bytes > 0:
            self._record(meters.CACHED_BYTES, run.cached_bytes, {"pool": pool})

    def _see_backend(self, event: StageFinished) -> None:
        if event.backend is not None:
            phase = event.type.split(".")[1]
            self._stored[event.executor, event.job, phase] = self._backends.value(event.backend)
            if len(self._stored) > _REMEMBERED_BACKENDS:
                self._stored.popitem(last=False)

    def _see_lost(self, event: ExecutorReady | ExecutorHeartbeat | ExecutorStopped) -> None:
        if isinstance(event, ExecutorReady):
            self._lost_events[event.executor] = 0
        elif event.lost_events is not None:
            # What an executor lost before we came is not ours to count.
            known = self._lost_events.get(event.executor, event.lost_events)
            self._lost_events[event.executor] = event.lost_events
            if event.lost_events > known:
                pool = self._pools.value(self._pool_of.get(event.executor))
                self._record(meters.EVENTS_LOST, event.lost_events - known, {"pool": pool})
        if isinstance(event, ExecutorStopped):
            self._lost_events.pop(event.executor, None)
            self._pool_of.pop(event.executor, None)
