"""What a timeline remembers of one executor."""

from __future__ import annotations

from typing import Any

from events.job_run import ExecutorInfo, ExecutorState
from events.types import Event, JobEvent, JobStarted

_LIFE: dict[str, ExecutorState] = {
    "executor.ready": "ready",
    "executor.draining": "draining",
    "executor.stopped": "stopped",
}
_RANK = {event_type: rank for rank, event_type in enumerate(_LIFE)}


class ExecutorFacts:
    """Folds one executor's events, in any order. Not thread-safe."""

    def __init__(self, executor: str) -> None:
        self.id = executor
        #: The timeline's version of its last change.
        self.version = 0
        self.silent = False
        #: Its pool, as far as it said so; else that of its jobs.
        self.pool: str | None = None
        self.first_seen = float("inf")
        self.last_seen = 0.0
        self._heard = 0.0
        #: The last event of each type that is about the executor itself.
        self._last: dict[str, Event] = {}
        self._starts: dict[int | str | None, float] = {}

    def see(self, event: Event, received: float) -> bool:
        """Take an event; whether it may change the end of a run beside its own job's."""
        self.first_seen = min(self.first_seen, event.timestamp)
        self.last_seen = max(self.last_seen, event.timestamp)
        self._heard = max(self._heard, received)
        if isinstance(event, JobEvent):
            self.pool = self.pool or event.pool
            return isinstance(event, JobStarted) and self._start(event)
        if event.type.startswith("executor."):
            known = self._last.get(event.type)
            if known is None or _age(event) > _age(known):
                self._last[event.type] = event
                self.pool = self._told("pool") or self.pool
            return True
        return False

    def _start(self, event: JobStarted) -> bool:
        if event.timestamp <= self._starts.get(event.thread, 0.0):
            return False
        self._starts[event.thread] = event.timestamp
        return True

    def check(self, now: float, silent_seconds: float) -> bool:
        """It is `now`; whether the executor fell silent or speaks again.

        One whose signs of life we do not get (they are filtered out) is never silent.
        """
        beats = "executor.heartbeat" in self._last or "executor.ready" in self._last
        silent = beats and now - self._heard > silent_seconds
        changed, self.silent = silent != self.silent, silent
        return changed

    def moved_on(self, thread: int | str | None, since: float) -> bool:
        """Whether this slot took up another job after the one of `since`.

        Ends come late at times: of an executor that gives signs of life, one must have come since.
        """
        signs = [event.timestamp for event in self._last.values()]
        return self._starts.get(thread, 0.0) > since and (not signs or max(signs) > since)

    def gone(self, since: float) -> tuple[float, str] | None:
        """When and how it went after `since`; None if it did not."""
        stopped = self._last.get("executor.stopped")
        if stopped is not None and stopped.timestamp >= since:
            return stopped.timestamp, "nobody told its end: its executor stopped"
        if self.silent:
            return self.last_seen, "its executor fell silent"
        return None

    def info(self) -> ExecutorInfo:
        """All of it, as a value."""
        life = self._life()
        state: ExecutorState = _LIFE[life.type] if life else "ready"
        beat = self._last.get("executor.heartbeat")
        return ExecutorInfo(
            id=self.id,
            host=self._told("host"),
            pool=self.pool,
            threads=self._told("threads"),
            busy=getattr(beat, "busy", None),
            memory=getattr(beat, "memory", None),
            disk=getattr(beat, "disk", None),
            load=getattr(beat, "load", None),
            lost_events=getattr(beat, "lost_events", None),
            state="lost" if self.silent and state != "stopped" else state,
            reason=getattr(life, "reason", None),
            first_seen=self.first_seen,
            last_seen=self.last_seen,
            heard=self._heard,
            version=self.version,
        )

    def _life(self) -> Event | None:
        told = [event for event in self._last.values() if event.type in _LIFE]
        return max(told, key=lambda event: (event.timestamp, _RANK[event.type]), default=None)

    def _told(self, field: str) -> Any:
        """The field's value in the latest event that has it."""
        told = [event for event in self._last.values() if getattr(event, field, None) is not None]
        latest = max(told, key=_age, default=None)
        return getattr(latest, field, None)


def _age(event: Event) -> tuple[float, str]:
    return (event.timestamp, event.event_id)
