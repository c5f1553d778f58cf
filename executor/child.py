"""The slot's child process: runs job after job, one at a time, in its main thread.

It is forked from a process that has everything imported and no gRPC (`executor.nursery`), has a
session of its own, and dies with its executor: by PR_SET_PDEATHSIG when the fork server goes, and
by a thread that waits for the executor's end of a pipe to close.

It speaks records (`executor.records`) over one pipe. Only the main thread reads: a job, or the
answer to its question. Any thread may write.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Mapping
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, get_args

import psutil

from executor.context import JobContext, use_context
from executor.failures import Phase
from executor.interruption import Interruption
from executor.outcome import LaunchEnded, RawEnded, fizzled
from executor.process_tree import adopt_orphans
from executor.raw_job import run_raw_job
from executor.records import (
    ChildOptions,
    Done,
    LeaseAnswer,
    LeaseQuestion,
    RunLaunch,
    RunRaw,
    TaskEvent,
    Upward,
)
from executor.rocket_run import RocketRun, quiet_fireworks
from executor.surroundings import job_surroundings
from executor.task_names import register_task_names
from messaging.errors import JobInterrupted
from messaging.wire import Reply

#: Environment variable that marks a child and all that its jobs start.
MARK = "PORTFIRE_CHILD"
#: Seconds for a job to clean up after its executor has died.
_ORPHAN_SECONDS = 8.0
_PR_SET_PDEATHSIG = 1


def child_main(pipe: Connection, options: ChildOptions, mark: str) -> None:
    """Body of the child process; never returns to its caller."""
    try:
        _settle_in(mark)
        Child(pipe, options).serve()
    except (EOFError, OSError):
        # The executor closed the pipe, and needs this child no more; or it is dead, and nobody
        # else will see to what its last job left.
        parent = multiprocessing.parent_process()
        if parent is not None and not parent.is_alive():
            _kill_descendants()
    except BaseException:  # noqa: BLE001 - process top: say why before dying
        traceback.print_exc()
    finally:
        # Not `sys.exit`: that waits for whatever threads the jobs have left behind.
        os._exit(0)


class Child:
    """Reads jobs from the pipe and runs them until the pipe closes."""

    def __init__(self, pipe: Connection, options: ChildOptions) -> None:
        self._pipe = pipe
        self._options = options
        self._sending = threading.Lock()  # guards writing to the pipe
        self._questions = 0
        self.interruption = Interruption()

    def serve(self) -> None:
        """Run jobs until the executor closes the pipe; raises EOFError then."""
        self.interruption.install()
        while True:
            record = self._pipe.recv()
            if isinstance(record, RunLaunch | RunRaw):
                self.send(Done(self._perform(record)))
                _reap()

    def send(self, record: Upward) -> None:
        """Send a record to the executor, whole."""
        with self.interruption, self._sending:
            self._pipe.send(record)

    def may_store(self) -> bool:
        """Ask the executor whether the job still holds its lease."""
        with self.interruption:
            self._questions += 1
            self.send(LeaseQuestion(self._questions))
            while True:
                answer = self._pipe.recv()
                if isinstance(answer, LeaseAnswer) and answer.number == self._questions:
                    return answer.held

    def _perform(self, record: RunLaunch | RunRaw) -> LaunchEnded | RawEnded | None:
        outcome = None
        # The outer one is for a signal that comes while the inner blocks are being left.
        with contextlib.suppress(JobInterrupted):
            try:
                self.interruption.arm()
                outcome = self._run(record)
            finally:
                self.interruption.disarm()
        if outcome is None and not self.interruption.happened:
            return fizzled("the job ended without a result")
        return outcome

    def _run(self, record: RunLaunch | RunRaw) -> LaunchEnded | RawEnded | None:
        with job_surroundings(Path(record.directory)):
            context = ChildContext(self, record)
            with use_context(context):
                if isinstance(record, RunRaw):
                    return _run_raw(record, context)
                run = RocketRun(
                    record.job,
                    context,
                    on_ping=self.send,
                    interrupted=lambda: self.interruption.happened,
                )
                return run.run()


class ChildContext(JobContext):
    """What a task in this child may ask of its executor."""

    def __init__(self, child: Child, record: RunLaunch | RunRaw) -> None:
        options = child._options
        launch = isinstance(record, RunLaunch)
        self.job = record.job.job if launch else record.job_id  # type: ignore[union-attr]
        self.attempt = record.job.attempt if launch else 1  # type: ignore[union-attr]
        self.executor = options.executor
        self.thread = options.thread
        self.storage = options.storage
        self.storage_options: Mapping[str, Any] = options.storage_options
        self.default_timeout = options.job_timeout
        #: Phase that failed, by the events; for raw jobs.
        self.failed_phase: str | None = None
        self._child = child

    def emit(self, event_type: str, **fields: Any) -> None:
        """Hand the event to the executor, which publishes it."""
        if fields.get("error") and event_type.endswith(".finished"):
            self.failed_phase = event_type.removeprefix("job.").removesuffix(".finished")
        fields.setdefault("timestamp", time.time())
        # A value that cannot be pickled loses its event, not the job.
        with contextlib.suppress(TypeError, AttributeError, OSError):
            self._child.send(TaskEvent(event_type, fields))

    def confirm_lease(self) -> None:
        """Raise JobInterrupted unless the executor still holds the job's lease."""
        if not self._child.may_store():
            self._child.interruption.interrupt("the lease is lost or the job was stopped")


def _run_raw(record: RunRaw, context: ChildContext) -> RawEnded:
    try:
        reply = run_raw_job(record.job, record.job_id, Path(record.directory))
    except Exception as exc:  # noqa: BLE001 - whatever escapes is this job's failure
        traceback.print_exc()
        text = f"{type(exc).__name__}: {exc}"
        reply = Reply(job=record.job_id, exceptions=[text])
    if not reply.exceptions and reply.exit_status == 0:
        return RawEnded(reply=reply)
    reason = "; ".join(reply.exceptions or []) or f"exit status {reply.exit_status}"
    # The reply has no field for the phase, so its text begins with it; the event has one.
    phase, separator, rest = reason.partition(": ")
    if separator and phase in get_args(Phase):
        return RawEnded(reply=reply, phase=phase, reason=rest)
    return RawEnded(reply=reply, phase=context.failed_phase or "job", reason=reason)


def _settle_in(mark: str) -> None:
    """Leave the executor's session, tie this process's life to its, and calm the surroundings."""
    os.setsid()
    # What a job leaves behind is found when it must go.
    adopt_orphans()
    with contextlib.suppress(AttributeError):  # Linux only; elsewhere the thread below must do
        # SIGTERM, so that a running job ends its program or container before this process ends.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(
        target=_die_with, args=(parent.sentinel,), name="parent-watch", daemon=True
    ).start()
    os.environ[MARK] = mark
    quiet_fireworks()
    register_task_names()


def _die_with(sentinel: int) -> None:
    """Without an executor: let the running job clean up, then end with all that it left."""
    wait([sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_ORPHAN_SECONDS)  # the end of this process is what ends it sooner
    _kill_descendants()
    os.killpg(0, signal.SIGKILL)


def _kill_descendants() -> None:
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            process.kill()


def _reap() -> None:
    """Collect the exit status of orphans that a job left to this process."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
