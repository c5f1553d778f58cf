"""Which runs go on, and which have ended, each of these once."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from events.job_run import JobRun
from events.losses import DISPATCHER
from events.timeline import Timeline

#: Seconds for which an ended run's late events are waited for.
SETTLE_SECONDS = 2.0
#: The same for a run that is taken for lost: its executor may only have been cut off.
LOST_SECONDS = 30.0
#: How long we wait to hear which pool an executor is of that was there before us: its heartbeat.
POOL_SECONDS = 45.0
#: Ended runs that are remembered; more than a timeline remembers of jobs.
_REMEMBERED = 100_000


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that ended."""

    run: JobRun
    #: Whether it was given out before, in another state: a lost run that turned up.
    again: bool = False


class EndedRuns:
    """Follows a timeline. Not thread-safe."""

    def __init__(
        self,
        timeline: Timeline,
        clock: Callable[[], float] = time.monotonic,
        settle: float = SETTLE_SECONDS,
    ) -> None:
        #: Runs that go on, by key.
        self.running: dict[str, JobRun] = {}
        self._timeline = timeline
        self._clock = clock
        self._settle = settle
        self._version = 0
        #: Ended, and when that was seen.
        self._waiting: dict[str, tuple[JobRun, float]] = {}
        #: The state in which each run was given out.
        self._given: OrderedDict[str, str] = OrderedDict()

    def poll(self) -> list[Ended]:
        """The runs that ended and have settled since the last call."""
        self._follow()
        now = self._clock()
        due = [
            key for key, (run, since) in self._waiting.items() if now - since >= self._patience(run)
        ]
        return [self._give(key) for key in due]

    def flush(self) -> list[Ended]:
        """All that ended, settled or not."""
        self._follow()
        return [self._give(key) for key in list(self._waiting)]

    def _follow(self) -> None:
        changes = self._timeline.changes_since(self._version)
        self._version = changes.version
        if changes.reset:
            self.running.clear()
        for key in changes.removed:
            self.running.pop(key, None)
        for run in changes.runs:
            self._see(run)

    def _see(self, run: JobRun) -> None:
        if run.running:
            self.running[run.key] = run
            self._waiting.pop(run.key, None)
            return
        self.running.pop(run.key, None)
        if self._given.get(run.key) != run.state:
            _, since = self._waiting.get(run.key, (run, self._clock()))
            self._waiting[run.key] = (run, since)

    def _patience(self, run: JobRun) -> float:
        if run.pool is None and run.executor != DISPATCHER:
            return POOL_SECONDS
        return max(self._settle, LOST_SECONDS) if run.state == "lost" else self._settle

    def _give(self, key: str) -> Ended:
        run, _ = self._waiting.pop(key)
        again = key in self._given
        self._given[key] = run.state
        self._given.move_to_end(key)
        if len(self._given) > _REMEMBERED:
            self._given.popitem(last=False)
        return Ended(run, again)
