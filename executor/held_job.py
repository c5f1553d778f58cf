"""The jobs that this executor holds, from their delivery until their message is settled."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from events.exporters import trace_context
from events.exporters.trace_context import TraceContext
from executor.interruption import KILL_AFTER_SECONDS
from executor.outcome import Interrupted
from messaging.leases import Lease
from messaging.names import DEFAULT_POOL
from messaging.pubsub import Received
from messaging.wire import LaunchJob, RawJob

#: Crashes after which a raw job gets an error reply instead of another executor to kill.
RAW_MAX_ATTEMPTS = 5


class Stoppable(Protocol):
    """What runs a job; ChildHandle is one."""

    def interrupt(self) -> None:
        """Ask the job to stop."""

    def kill(self) -> None:
        """Kill it with all its processes."""


@dataclass(eq=False)
class HeldJob:
    """One delivered job. Its slot's thread writes it; `interrupt` may be called from any thread."""

    job: LaunchJob | RawJob
    message: Received
    lease: Lease
    #: Monotonic time of its delivery.
    arrived: float = field(default_factory=time.monotonic)
    #: Slot that runs it.
    thread: int | None = None
    #: Seconds since the epoch, UTC.
    started: float = 0.0
    directory: str = ""
    #: Where the launch works: `directory`, unless the Firework has a ``_launch_dir``.
    launch_dir: str = ""
    checkpoint: dict[str, Any] | None = None
    trackers: list[dict[str, Any]] | None = None
    #: Whether its outcome has been reported; the Reporter's own.
    reported: bool = False
    #: Whether it goes on as another message: that one is not a second delivery of this one.
    passed_on: bool = False
    #: Whether it only waits to be published again.
    resting: bool = False
    #: Seconds that it has to stop before it is killed.
    patience: float = KILL_AFTER_SECONDS
    #: Why it was stopped from outside, if it was.
    interruption: Interrupted | None = None
    _runner: Stoppable | None = None
    _killer: threading.Timer | None = None
    #: Guards `interruption` and the two above.
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def id(self) -> str:
        """The job's correlation id."""
        if isinstance(self.job, LaunchJob):
            return self.job.job
        return self.message.attributes.get("job") or self.message.message_id

    @property
    def attempt(self) -> int:
        """The how-manieth claim of the launch; 1 for raw jobs."""
        return self.job.attempt if isinstance(self.job, LaunchJob) else 1

    @property
    def name(self) -> str:
        """What people call it."""
        if isinstance(self.job, LaunchJob):
            return self.job.name
        return self.job.name or self.job.executable

    @property
    def pool(self) -> str:
        """The executors that it is for."""
        if isinstance(self.job, LaunchJob):
            return self.job.pool
        return self.message.attributes.get("pool", DEFAULT_POOL)

    @property
    def traceparent(self) -> str | None:
        """The span of its run, for its programs; None unless a sender gave a context."""
        trace = self._trace()
        if trace is None:
            return None
        return trace.job_span(self.id).run_span(self.id, self.started).header()

    @property
    def max_attempts(self) -> int:
        """Deaths after which it is not run any more."""
        return self.job.max_attempts if isinstance(self.job, LaunchJob) else RAW_MAX_ATTEMPTS

    @property
    def silences(self) -> int:
        """Deliveries before this one whose executors never said what became of them, as far as
        they are counted.
        """
        earlier = max(0, self.message.delivery_attempt - 1)
        return earlier + self.job.delivered_before

    @property
    def deaths(self) -> int:
        """How often it has, or may have, killed its process or its executor."""
        return self.silences + self.failures("crash")

    @property
    def ran_before(self) -> bool:
        """Whether an earlier try may have left something."""
        return self.attempt > 1 or self.silences > 0 or bool(self.job.history)

    def failures(self, cause: str) -> int:
        """How many tries before this one failed for this cause."""
        return sum(failure.cause == cause for failure in self.job.history)

    def event_fields(self) -> dict[str, Any]:
        """The fields that all events about it carry."""
        about = {"id": self.id, "thread": self.thread, "name": self.name, "pool": self.pool}
        if isinstance(self.job, LaunchJob):
            about["attempt"] = self.job.attempt
        if trace := self._trace():
            about[trace_context.ATTRIBUTE] = trace.header()
        return about

    def log_labels(self) -> dict[str, Any]:
        """What a log record about it carries beside its text (``extra=``)."""
        labels: dict[str, Any] = {"job": self.id, "job_name": self.name}
        if isinstance(self.job, LaunchJob):
            labels.update(
                attempt=self.job.attempt, firework=self.job.fw_id, workflow=self.job.workflow
            )
        return labels

    def _trace(self) -> TraceContext | None:
        return trace_context.incoming(self.message.attributes, self.job)

    def begin(self, thread: int, directory: str) -> None:
        """A slot takes it up."""
        self.thread, self.started = thread, time.time()
        self.directory = self.launch_dir = directory

    def enter(self, runner: Stoppable) -> bool:
        """It runs in `runner` from now on; False when it was interrupted before that."""
        with self._lock:
            if self.interruption is not None:
                return False
            self._runner = runner
        return True

    def leave(self) -> None:
        """It does not run any more."""
        with self._lock:
            self._runner = None
            if self._killer is not None:
                self._killer.cancel()

    def interrupt(self, why: Interrupted, patience: float | None = None) -> None:
        """Stop it: ask, and kill after `patience` seconds, if not given its own.

        The first reason given is kept.
        """
        with self._lock:
            if self.interruption is None:
                self.interruption = why
            if self._runner is None:
                return
            self._runner.interrupt()
            if self._killer is not None:
                self._killer.cancel()
            self._killer = threading.Timer(
                self.patience if patience is None else patience, self._kill
            )
            self._killer.daemon = True
            self._killer.start()

    def _kill(self) -> None:
        with self._lock:
            if self._runner is not None:
                self._runner.kill()


def key_of(job: LaunchJob | RawJob, message: Received) -> str:
    """The same for two deliveries of the same work.

    The id of a raw job is its sender's to choose, and may come again on purpose. The next try of a
    launch is other work: acking the message of the failed one must not ack this one.
    """
    if isinstance(job, LaunchJob):
        return f"launch/{job.launch_id}/{job.attempt}/{len(job.history)}"
    return f"raw/{message.message_id}"


class HeldJobs:
    """All jobs that this executor holds. Thread-safe."""

    def __init__(self) -> None:
        #: Guards the jobs; notified when one is gone.
        self._changed = threading.Condition()
        self._jobs: dict[str, HeldJob] = {}
        #: Monotonic time of the last end of a job, or of the beginning.
        self._last_end = time.monotonic()

    def add(self, held: HeldJob) -> None:
        """Hold a job."""
        with self._changed:
            self._jobs[key_of(held.job, held.message)] = held

    def remove(self, held: HeldJob) -> None:
        """Its message is settled."""
        with self._changed:
            key = key_of(held.job, held.message)
            if self._jobs.get(key) is held:  # not the copy of it that was passed on
                del self._jobs[key]
                self._last_end = time.monotonic()
            if not self._jobs:
                self._changed.notify_all()

    def find(self, key: str) -> HeldJob | None:
        """The job of this key."""
        with self._changed:
            return self._jobs.get(key)

    def all(self) -> list[HeldJob]:
        """All, in the order of their arrival."""
        with self._changed:
            return list(self._jobs.values())

    def rest(self, held: HeldJob) -> None:
        """It waits to be published again: from now on it is held, and nothing is done for it."""
        with self._changed:
            held.resting = True
            self._last_end = time.monotonic()

    def working(self) -> int:
        """How many are held that do not rest."""
        with self._changed:
            return sum(not held.resting for held in self._jobs.values())

    def idle_seconds(self) -> float:
        """For how long nothing has been done; 0.0 while something is held that does not rest."""
        with self._changed:
            busy = any(not held.resting for held in self._jobs.values())
            return 0.0 if busy else time.monotonic() - self._last_end

    def wait_until_none(self, timeout: float, unless: Callable[[], bool] = lambda: False) -> bool:
        """Wait until nothing is held, for `timeout` seconds, or until `unless` (see `wake`)."""
        with self._changed:
            self._changed.wait_for(lambda: not self._jobs or unless(), timeout)
            return not self._jobs

    def wake(self) -> None:
        """Let those who wait look again."""
        with self._changed:
            self._changed.notify_all()
