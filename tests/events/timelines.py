"""Events of made-up jobs, for tests of what is folded from events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from events.types import Event, make_event

#: When every story begins.
T0 = 1_700_000_000.0


class Story:
    """Tells the events of one job's run on one executor, numbered, at seconds after `T0`."""

    def __init__(self, job: str = "1", executor: str = "a", thread: int = 0, **fields: Any) -> None:
        self.fields = {"name": "align", "attempt": 1, **fields}
        self.job, self.executor, self.thread = job, executor, thread
        self.seq = 0

    def tell(self, event_type: str, at: float, **fields: Any) -> Event:
        """The job's next event."""
        self.seq += 1
        about = {"id": self.job, "thread": self.thread, "seq": self.seq, **self.fields}
        kind = f"job.{event_type}"
        return executor_event(kind, at, self.executor, **{**about, **fields})

    def run(self, at: float = 0.0, state: str | None = "COMPLETED", **end: Any) -> Iterator[Event]:
        """A run of 10 s: 1 s of stage-in, 7 s of execution, 2 s of stage-out."""
        yield self.tell("started", at, queued=3.0)
        yield self.tell("stage-in.started", at)
        yield self.tell("stage-in.finished", at + 1, time=1.0, bytes=1000, cached=200)
        yield self.tell("execution.started", at + 1, executable="bwa")
        yield self.tell("execution.finished", at + 8, time=7.0, exit_code=0, executable="bwa")
        yield self.tell("stage-out.started", at + 8)
        yield self.tell("stage-out.finished", at + 10, time=2.0, bytes=500)
        if state is not None:
            yield self.tell("finished", at + 10, state=state, **end)


def executor_event(event_type: str, at: float, executor: str = "a", **fields: Any) -> Event:
    """An event at `at` seconds after `T0`."""
    return make_event({"type": event_type, "timestamp": T0 + at, "executor": executor, **fields})


def crowd(jobs: int, slots: int = 200) -> Iterator[Event]:
    """Jobs of 10 s in executors of 8 slots; one in 97 fails."""
    for number in range(slots // 8):
        yield executor_event(
            "executor.ready", 0, f"e{number}", host=f"host-{number}", pool="default", threads=8
        )
    for number in range(jobs):
        slot = number % slots
        story = Story(str(number), f"e{slot // 8}", slot % 8, name=f"task-{number % 5}")
        at = 10.0 * (number // slots) + slot * 0.01
        if number % 97:
            yield from story.run(at)
        else:
            yield from story.run(at, "FIZZLED", phase="execution", reason="exit code 1: no reads")
