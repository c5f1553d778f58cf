"""A slot: one thread that takes job after job and runs them in a child process of its own."""

from __future__ import annotations

import logging
import re
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from executor.containers import remove_containers
from executor.failures import one_line
from executor.held_job import HeldJob
from executor.intake import Intake
from executor.nursery import ChildHandle, Nursery
from executor.outcome import ChildDied, Interrupted, Outcome, Unstartable
from executor.records import (
    ChildOptions,
    Done,
    LaunchPing,
    LeaseAnswer,
    LeaseQuestion,
    RunLaunch,
    RunRaw,
    TaskEvent,
    Upward,
)
from executor.report import Reporter
from messaging.leases import LeaseKeeper
from messaging.wire import LaunchJob, RawJob

log = logging.getLogger(__name__)

#: Seconds for which a slot takes no job after it could not start one (no space, no process).
UNSTARTABLE_PAUSE = 10.0
#: What a launch directory must have room for at the least: FireWorks' and our own small files.
_PROBE_BYTES = 65_536
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
        reporter: Reporter,
        keeper: LeaseKeeper,
        workdir: Path,
        jobs_per_child: int = 1000,
        keep_directories: bool = True,
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
        self._reporter = reporter
        self._keeper = keeper
        self._workdir = workdir
        self._jobs_per_child = jobs_per_child
        self._keep_directories = keep_directories
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
                self._take(held)
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
            log.error("cannot start job %s: %s", held.id, exc)
            outcome = Unstartable(reason=f"the executor cannot start a job: {exc}")
        except Exception as exc:
            # It counts: if it is the job that brings this about, it must not circulate for ever.
            log.exception("slot %d failed at job %s", self.number, held.id)
            self._abandon_child(held)
            outcome = ChildDied(how=f"was given up after an error of its executor: {one_line(exc)}")
        self._reporter.report(held, outcome)
        if isinstance(outcome, Unstartable):
            self._ending.wait(UNSTARTABLE_PAUSE)

    def _perform(self, held: HeldJob) -> Outcome:
        child = self._ready_child()
        directory = self._make_directory(held)
        held.begin(self.number, str(directory))
        if not held.enter(child):
            return held.interruption or Unstartable(reason="interrupted")
        try:
            self._reporter.started(held)
            outcome = self._converse(child, held)
        finally:
            held.leave()
        if isinstance(held.job, RawJob) or not self._keep_directories:
            shutil.rmtree(directory, ignore_errors=True)
        return outcome

    def _converse(self, child: ChildHandle, held: HeldJob) -> Outcome:
        """Run the job in the child and see to what it says until it is done or dead."""
        child.jobs += 1
        child.send(_order(held))
        while (record := child.receive()) is not None:
            if isinstance(record, Done):
                return self._done(record, child, held)
            self._heed(record, child, held)
        how = self._retire_child()
        self._remove_containers(held)
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
        elif isinstance(record, LaunchPing):
            held.checkpoint, held.trackers = record.checkpoint, record.trackers
            held.launch_dir = record.launch_dir or held.launch_dir
            self._reporter.ping(held)

    def _ready_child(self) -> ChildHandle:
        """The child for the next job; raises OSError when none can be had."""
        if self._child is not None and self._child.jobs >= self._jobs_per_child:
            self._retire_child()
        if self._child is None:
            self._child = self._nursery.spawn(self._options)
        return self._child

    def _retire_child(self) -> str:
        child, self._child = self._child, None
        return child.close() if child is not None else "was not there"

    def _abandon_child(self, held: HeldJob) -> None:
        """Make an end of a child that may still run the job."""
        if self._child is not None:
            self._child.kill()
        self._retire_child()
        self._remove_containers(held)

    def _make_directory(self, held: HeldJob) -> Path:
        """A new, private one: a second delivery of an attempt must not find the first one's."""
        word = re.sub(r"[^A-Za-z0-9._-]", "_", held.id)[:80]
        prefix = f"{word}-{held.attempt}"[:100]
        directory = Path(tempfile.mkdtemp(prefix=f"{prefix}-", dir=self._workdir))
        _check_space(directory)
        return directory

    def _remove_containers(self, held: HeldJob) -> None:
        """Those of a child that could not do it itself any more."""
        remove_containers(executor=self._options.executor, job=held.id, attempt=held.attempt)


def _check_space(directory: Path) -> None:
    """Raise OSError when the disk is full: that is not the fault of the job that comes next."""
    try:
        with tempfile.TemporaryFile(dir=directory) as probe:
            probe.write(bytes(_PROBE_BYTES))
            probe.flush()
    except OSError as exc:
        directory.rmdir()
        raise OSError(exc.errno, exc.strerror, str(directory.parent)) from exc


def _order(held: HeldJob) -> RunLaunch | RunRaw:
    if isinstance(held.job, LaunchJob):
        return RunLaunch(held.job, held.directory)
    return RunRaw(held.job, held.id, held.directory)
