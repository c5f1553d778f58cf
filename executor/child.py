"""The slot's child process: runs job after job, one at a time, in its main thread.

It is forked from a process that has everything imported and no gRPC (`executor.nursery`), has a
session of its own, and dies with its executor: by PR_SET_PDEATHSIG when the fork server goes, and
by a thread that waits for the executor's end of a pipe to close.

It speaks records (`executor.records`) over one pipe. Only the main thread reads: a job, or the
answer to its question. Any thread may write.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
import traceback
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path

import psutil

from events.exporters import trace_context
from executor.child_context import ChildContext
from executor.containers.finding import EXECUTOR_LABEL, JOB_LABEL, PREFIX_LABEL, warm_job
from executor.context import use_context
from executor.interruption import KILL_AFTER_SECONDS, Interruption
from executor.lifeline import tie_to_executor
from executor.mail import Mail
from executor.outcome import LaunchEnded, RawEnded, fizzled
from executor.pings import ping_without_threads
from executor.process_tree import adopt_orphans
from executor.raw_job import run_raw_job
from executor.records import (
    ChildOptions,
    Done,
    LeaseAnswer,
    LeaseQuestion,
    RunLaunch,
    RunRaw,
    TransferAnswer,
    TransferQuestion,
    Upward,
)
from executor.rocket_run import RocketRun, quiet_fireworks
from executor.surroundings import Surroundings
from executor.task_names import register_task_names
from executor.warm.containers import WarmContainers
from messaging.errors import JobInterrupted
from messaging.wire import Reply
from storage_backends.errors import StorageTransientError

#: Environment variable that marks a child and all that its jobs start.
MARK = "PORTFIRE_CHILD"


def child_main(pipe: Connection, options: ChildOptions, mark: str) -> None:
    """Body of the child process; never returns to its caller."""
    child = Child(pipe, options)
    try:
        _settle_in(mark, child)
        child.serve()
    except (EOFError, OSError):
        # The executor closed the pipe, and needs this child no more; or it is dead, and nobody
        # else will see to what its last job left.
        parent = multiprocessing.parent_process()
        if parent is not None and not parent.is_alive():
            _kill_descendants()
    except BaseException:  # noqa: BLE001 - process top: say why before dying
        traceback.print_exc()
    finally:
        child.close()
        # Not `sys.exit`: that waits for whatever threads the jobs have left behind.
        os._exit(0)


class Child:
    """Reads jobs from the pipe and runs them until the pipe closes."""

    def __init__(self, pipe: Connection, options: ChildOptions) -> None:
        self._pipe = pipe
        self.options = options
        self._mail = Mail(pipe)
        self._questions = 0
        self._warm: WarmContainers | None = None
        self.interruption = Interruption()
        #: Seconds for the running job to clear up after its executor has died.
        self.patience = KILL_AFTER_SECONDS

    def serve(self) -> None:
        """Run jobs until the executor closes the pipe; raises EOFError then."""
        self.interruption.install()
        surroundings = Surroundings(self.interruption)
        while True:
            record = self._pipe.recv()
            if isinstance(record, RunLaunch | RunRaw):
                self.send(Done(self._perform(record, surroundings)))
                _reap()

    def send(self, record: Upward) -> None:
        """Send a record to the executor, after all that was posted before."""
        with self.interruption:
            self._mail.send(record)

    def post(self, record: Upward) -> None:
        """Send a record that may wait a moment for the next."""
        with self.interruption:
            self._mail.post(record)

    @property
    def warm(self) -> WarmContainers | None:
        """The containers that are kept for later jobs of this slot."""
        place = self.options.warm_place
        if self._warm is None and place is not None:
            job = warm_job(self.options.thread, os.getpid())
            labels = {
                EXECUTOR_LABEL: self.options.executor,
                JOB_LABEL: job,
                PREFIX_LABEL: self.options.prefix,
            }
            self._warm = WarmContainers(place / job, labels)
        return self._warm

    def close(self) -> None:
        """There will be no more jobs: keep nothing for them."""
        if self._warm is not None:
            self._warm.close()

    def may_store(self) -> bool:
        """Ask the executor whether the job still holds its lease."""
        answer = self._ask(LeaseQuestion)
        return isinstance(answer, LeaseAnswer) and answer.held

    def transfer_address(self) -> str:
        """Ask the executor where its transfer process listens; raises StorageTransientError."""
        answer = self._ask(TransferQuestion)
        assert isinstance(answer, TransferAnswer)
        if answer.error is not None:
            raise StorageTransientError(answer.error)
        return answer.address

    def _ask(
        self, question: type[LeaseQuestion | TransferQuestion]
    ) -> LeaseAnswer | TransferAnswer:
        with self.interruption:
            self._questions += 1
            self.send(question(self._questions))
            while True:
                answer = self._pipe.recv()
                if (
                    isinstance(answer, LeaseAnswer | TransferAnswer)
                    and answer.number == self._questions
                ):
                    return answer

    def _perform(
        self, record: RunLaunch | RunRaw, surroundings: Surroundings
    ) -> LaunchEnded | RawEnded | None:
        outcome = None
        # The outer one is for a signal that comes while the inner blocks are being left.
        with contextlib.suppress(JobInterrupted):
            try:
                self.patience = KILL_AFTER_SECONDS
                self.interruption.arm()
                with surroundings.of_job(record.directory):
                    outcome = self._run(record)
            finally:
                self.interruption.disarm()
        if outcome is None and not self.interruption.happened:
            return fizzled("the job ended without a result")
        return outcome

    def _run(self, record: RunLaunch | RunRaw) -> LaunchEnded | RawEnded | None:
        if record.traceparent is not None:
            os.environ[trace_context.VARIABLE] = record.traceparent
        with (
            closing(ChildContext(self, record)) as context,
            use_context(context),
        ):
            if isinstance(record, RunRaw):
                return _run_raw(record, context)
            run = RocketRun(
                record.job,
                context,
                on_ping=self.send,
                interrupted=lambda: self.interruption.happened,
            )
            return run.run()


def _run_raw(record: RunRaw, context: ChildContext) -> RawEnded:
    try:
        return run_raw_job(record.job, record.job_id, Path(record.directory))
    except Exception as exc:  # noqa: BLE001 - whatever escapes is this job's failure
        traceback.print_exc()
        text = f"{type(exc).__name__}: {exc}"
        reply = Reply(job=record.job_id, exceptions=[text])
        return RawEnded(reply=reply, phase=context.failed_phase or "job", reason=text)


def _settle_in(mark: str, child: Child) -> None:
    """Leave the executor's session, tie this process's life to its, and calm the surroundings."""
    # It comes with a SIGTERM: a running job ends its program or container before this process ends.
    tie_to_executor(lambda: _outlive_briefly(child))
    # What a job leaves behind is found when it must go.
    adopt_orphans()
    os.environ[MARK] = mark
    quiet_fireworks()
    ping_without_threads()
    register_task_names()


def _outlive_briefly(child: Child) -> None:
    """Without an executor: let the running job clean up, then end with all that it left."""
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(child.patience)  # the end of this process is what ends it sooner
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
