"""A slot: one thread that takes job after job and runs them in a child process of its own."""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections.abc import Callable

from executor.failures import one_line
from executor.files.transfers import Transfers
from executor.held_job import HeldJob
from executor.household import Household
from executor.intake import Intake
from executor.interruption import CLEAN_UP_SECONDS
from executor.nursery import ChildHandle, Nursery
from executor.outcome import ChildDied, Interrupted, Outcome, Unstartable
from executor.records import (
    ChildOptions,
    ContainerBegins,
    Done,
    LaunchPing,
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
from executor.report import Reporter
from messaging.leases import LeaseKeeper
from messaging.wire import LaunchJob
from storage_backends.errors import StorageTransientError

log = logging.getLogger(__name__)

#: Seconds for which a slot takes no job after it could not start one (no space, no process).
UNSTARTABLE_PAUSE = 10.0
#: Seconds in which the executor's own SIGTERM follows that of its job.
UNASKED_SIGNAL_PATIENCE = 1.0


class Slot:
    """Runs jobs, one at a time. A dead child is replaced; the slot lives on."""

    def __init__(
        self,
        options: ChildOptions,
        *,
        intake: Intake,
        nursery: Nursery,
        transfers: Transfers,
        reporter: Reporter,
        keeper: LeaseKeeper,
        household: Household,
        jobs_per_child: int = 1000,
        stop_wanted: threading.Event,
        on_death: Callable[[str], None],
    ) -> None:
        """`stop_wanted` is set when the executor is going to stop."""
        self.number = options.thread
        #: Whether it runs a job now.
        self.busy = False
        self._options = options
        self._intake = intake
        self._nursery = nursery
        self._transfers = transfers
        self._reporter = reporter
        self._keeper = keeper
        self._places = household.places
        self._housekeeping = household.housekeeping
        self._task_log = household.task_log
        self._jobs_per_child = jobs_per_child
        self._stop_wanted = stop_wanted
        self._on_death = on_death
        self._child: ChildHandle | None = None
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"slot-{self.number}", daemon=True)

    def start(self) -> None:
        """Start the thread, which gets its child at once: the first job shall not wait for it."""
        self._thread.start()

    def end(self) -> None:
        """Wake the slot if it pauses; it ends when the intake has no more jobs."""
        self._ending.set()

    def join(self, timeout: float) -> None:
        """Wait for the slot's end."""
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _run(self) -> None:
        try:
            self._prepare()
            while (held := self._intake.next()) is not None:
                self.busy = True
                began = time.monotonic()
                self._take(held)
                self._intake.ran(time.monotonic() - began)
                self.busy = False
        except Exception:
            log.exception("slot %d died", self.number)
            self._on_death(f"slot {self.number} died")
        finally:
            self._retire_child()

    def _prepare(self) -> None:
        try:
            self._ready_child()
        except OSError as exc:
            log.error("slot %d has no process yet: %s", self.number, exc)

    def _take(self, held: HeldJob) -> None:
        try:
            outcome = self._perform(held)
        except OSError as exc:
            log.error("cannot start job %s: %s", held.id, exc, extra=held.log_labels())
            outcome = Unstartable(reason=f"the executor cannot start a job: {exc}")
        except Exception as exc:
            # It counts: if it is the job that brings this about, it must not circulate for ever.
            text = "slot %d failed at job %s"
            log.exception(text, self.number, held.id, extra=held.log_labels())
            outcome = ChildDied(how=f"was given up after an error of its executor: {one_line(exc)}")
        self._reporter.report(held, outcome)
        if isinstance(outcome, Unstartable):
            self._ending.wait(UNSTARTABLE_PAUSE)

    def _perform(self, held: HeldJob) -> Outcome:
        child = self._ready_child()
        held.begin(self.number, str(self._places.make(held)))
        try:
            self._places.clear_way(held)
            if not held.enter(child):
                return held.interruption or Unstartable(reason="interrupted")
            try:
                self._reporter.started(held)
                return self._converse(child, held)
            finally:
                held.leave()
        except BaseException:
            self._abandon_child(held)
            raise
        finally:
            self._places.leave(held)

    def _converse(self, child: ChildHandle, held: HeldJob) -> Outcome:
        """Run the job in the child and see to what it says until it is done or dead."""
        child.jobs += 1
        child.send(_order(held))
        while (record := child.receive()) is not None:
            if isinstance(record, Done):
                return self._done(record, child, held)
            self._heed(record, child, held)
        how = self._retire_child()
        self._places.clear_up(held)
        return held.interruption or ChildDied(how=how)

    def _done(self, record: Done, child: ChildHandle, held: HeldJob) -> Outcome:
        if held.interruption is not None:
            # What the job has started must go too; and a signal may still be on its way to this
            # child: it gets no other job.
            child.kill()
            self._retire_child()
        if record.outcome is not None:
            return record.outcome
        return held.interruption or self._unasked_signal(child)

    def _unasked_signal(self, child: ChildHandle) -> Outcome:
        """The job was interrupted, but not by us."""
        child.kill()
        self._retire_child()
        # A service manager signals all processes of a service: then our own stop comes, too.
        if self._stop_wanted.wait(UNASKED_SIGNAL_PATIENCE):
            return Interrupted(cause="stopping", reason="the executor stops")
        # Else it counts: a job that signals its own process group would never end.
        return ChildDied(how="got a SIGTERM that its executor did not send")

    def _heed(self, record: Upward, child: ChildHandle, held: HeldJob) -> None:
        if isinstance(record, TaskEvent):
            self._reporter.event(held, record.type, **record.fields)
        elif isinstance(record, LeaseQuestion):
            may_store = held.interruption is None and self._keeper.is_held(held.lease)
            child.send(LeaseAnswer(record.number, may_store))
        elif isinstance(record, TransferQuestion):
            child.send(self._transfer_answer(record.number))
        elif isinstance(record, ContainerBegins):
            held.patience = record.stop_grace + CLEAN_UP_SECONDS
            self._housekeeping.note_engine()
        elif isinstance(record, TaskOutput):
            self._task_log.write(held, record)
        elif isinstance(record, LaunchPing):
            held.checkpoint, held.trackers = record.checkpoint, record.trackers
            held.launch_dir = record.launch_dir or held.launch_dir
            self._reporter.ping(held)

    def _transfer_answer(self, number: int) -> TransferAnswer:
        try:
            return TransferAnswer(number, self._transfers.address())
        except StorageTransientError as exc:
            log.error("slot %d: %s", self.number, exc)
            return TransferAnswer(number, error=str(exc))

    def _ready_child(self) -> ChildHandle:
        """The child for the next job; raises OSError when none can be had."""
        if self._child is not None and self._child.jobs >= self._jobs_per_child:
            self._retire_child()
        if self._child is None:
            options = dataclasses.replace(self._options, log_output=self._task_log.wanted)
            self._child = self._nursery.spawn(options)
        return self._child

    def _retire_child(self) -> str:
        child, self._child = self._child, None
        if child is None:
            return "was not there"
        how = child.close()
        self._places.clear_warm(self.number, child.pid)
        return how

    def _abandon_child(self, held: HeldJob) -> None:
        """Make an end of a child that may still run the job."""
        if self._child is not None:
            self._child.kill()
        self._retire_child()
        self._places.clear_up(held)


def _order(held: HeldJob) -> RunLaunch | RunRaw:
    if isinstance(held.job, LaunchJob):
        return RunLaunch(held.job, held.directory, held.traceparent)
    return RunRaw(held.job, held.id, held.directory, held.traceparent)
