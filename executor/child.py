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
from collections.abc import Mapping
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil

from events.exporters import trace_context
from executor.containers.finding import EXECUTOR_LABEL, JOB_LABEL, PREFIX_LABEL, warm_job
from executor.context import JobContext, use_context
from executor.interruption import CLEAN_UP_SECONDS, KILL_AFTER_SECONDS, Interruption
from executor.lifeline import tie_to_executor
from executor.mail import Mail
from executor.outcome import LaunchEnded, RawEnded, fizzled
from executor.pings import ping_without_threads
from executor.process_tree import adopt_orphans
from executor.raw_job import run_raw_job
from executor.records import (
    UNSENDABLE,
    ChildOptions,
    ContainerBegins,
    Done,
    LeaseAnswer,
    LeaseQuestion,
    RunLaunch,
    RunRaw,
    TaskEvent,
    TaskOutput,
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
from storage_backends.contract import StorageBackend
from storage_backends.errors import StorageTransientError
from storage_backends.registry import backend_name, open_backend
from storage_backends.service.client import RemoteBackend

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
        self._options = options
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
        place = self._options.warm_place
        if self._warm is None and place is not None:
            job = warm_job(self._options.thread, os.getpid())
            labels = {
                EXECUTOR_LABEL: self._options.executor,
                JOB_LABEL: job,
                PREFIX_LABEL: self._options.prefix,
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
        self.prefix = options.prefix
        self.policy = options.policy
        self.stop_grace = options.stop_grace
        self.container_network = options.container_network
        self.image_turns = options.image_turns
        self.memory_step = record.job.memory_step if isinstance(record, RunLaunch) else 0
        self.wants_output = options.log_output
        self.samples = options.samples
        #: Phase that failed, by the events; for raw jobs.
        self.failed_phase: str | None = None
        self._child = child
        self._opened: list[StorageBackend] = []

    def emit(self, event_type: str, **fields: Any) -> None:
        """Hand the event to the executor, which publishes it."""
        if fields.get("error") and event_type.endswith(".finished"):
            self.failed_phase = event_type.removeprefix("job.").removesuffix(".finished")
        fields.setdefault("timestamp", time.time())
        # A value that cannot be pickled loses its event, not the job.
        with contextlib.suppress(*UNSENDABLE, OSError):
            self._child.post(TaskEvent(event_type, fields))

    @property
    def warm(self) -> WarmContainers | None:
        """See JobContext."""
        return self._child.warm

    def container_begins(self, stop_grace: float) -> None:
        """Let whoever stops the job be patient, and the executor look after its engine."""
        self._child.patience = stop_grace + CLEAN_UP_SECONDS
        with contextlib.suppress(OSError):
            self._child.send(ContainerBegins(stop_grace))

    def task_output(self, lines: list[tuple[str, str]], dropped: int) -> None:
        """Hand the lines to the executor, which logs them."""
        with contextlib.suppress(OSError):
            self._child.send(TaskOutput(lines, dropped))

    def confirm_lease(self) -> None:
        """Raise JobInterrupted unless the executor still holds the job's lease."""
        if not self._child.may_store():
            self._child.interruption.interrupt("the lease is lost or the job was stopped")

    def open_storage(self, name: str, options: Mapping[str, Any]) -> StorageBackend:
        """See JobContext; all but ``local`` are served by the executor's transfer process."""
        if backend_name(name) == "local":
            return open_backend(name, options)
        backend = RemoteBackend(self._child.transfer_address, name, options)
        self._opened.append(backend)
        return backend

    def close(self) -> None:
        """The job is over: let go of its storage."""
        for backend in self._opened:
            backend.close()


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
