"""The executor daemon: its parts, its start, and its stop.

Threads: ``puller`` (`Intake`), ``slot-N`` (`Slot`, each with a child process), ``outbox``,
``lease-*`` (`LeaseKeeper`), ``control``, ``heartbeat``, and the events' publisher. Files are moved
by a process of its own (`Transfers`), which ends after the slots.

The stop, in this order:

1. say so (``executor.draining``), pull no more, give back what no slot has taken;
2. let running jobs finish for ``grace_seconds``, with leases, control and events as ever;
3. interrupt the others: each is asked, after 5 seconds killed, and given back;
4. wait until every result and every job given back is confirmed by Pub/Sub, then ack;
5. say so (``executor.stopped``), and close.

A second request to stop skips 2 and kills at once. What cannot be confirmed because Pub/Sub is away
comes back by itself when its lease runs out.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import ExitStack
from types import TracebackType

from events.publisher import EventPublisher
from executor.cancellations import Cancellations
from executor.control import ControlListener
from executor.drain import drain
from executor.files.transfers import Transfers
from executor.files.workspace import usable_workdir
from executor.heartbeat import Heartbeat
from executor.held_job import HeldJobs
from executor.household import Household
from executor.intake import Intake
from executor.nursery import Nursery
from executor.outbox import Outbox
from executor.outcome import Interrupted
from executor.report import Reporter
from executor.settings import ExecutorSettings
from executor.slot import Slot
from executor.subscriptions import Subscriptions
from executor.updates import UpdateWriter, host_and_ip
from messaging.errors import PortfireError
from messaging.leases import Lease, LeaseKeeper

log = logging.getLogger(__name__)

#: Seconds for results to be confirmed and acked at the end.
_FLUSH_SECONDS = 10.0


class Executor:
    """Runs jobs of one pool until told to stop.

    `run` blocks; or `start`, and later `stop`. `request_stop` may be called from any thread. Use
    each object once.
    """

    def __init__(self, settings: ExecutorSettings) -> None:
        self.settings = settings
        self._stop_wanted = threading.Event()
        self._kill_wanted = threading.Event()
        self._stop_reason = "asked to"
        #: What `_helper_died` was told first.
        self._dead_part = ""
        self._started = False
        self._stopping = threading.Lock()  # held by whoever stops the executor
        self._stopped = False
        self._jobs = HeldJobs()

    @property
    def id(self) -> str:
        """The executor's id."""
        return self.settings.executor_id

    @property
    def running_jobs(self) -> int:
        """How many jobs it holds now."""
        return len(self._jobs.all())

    def __enter__(self) -> Executor:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def run(self) -> None:
        """Start, run until a stop is requested, stop.

        Raises UsageError when it cannot start; PortfireError, after the stop, when a part of it
        died.
        """
        self.start()
        try:
            self._stop_wanted.wait()
        finally:
            self.stop()
        if self._dead_part:
            raise PortfireError(
                f"executor {self.id} had to stop, for {self._dead_part}: its log says why; start "
                "it again"
            )

    def start(self) -> None:
        """Start all parts; raises UsageError: no Pub/Sub configured, workdir not writable, id in
        use, no such storage backend. Whatever it raises, nothing that it started goes on.
        """
        self._workdir = usable_workdir(self.settings.workdir)
        nursery = Nursery()
        # First of all: the fork server must not inherit anything of gRPC's.
        nursery.start()
        self._household = Household(self.settings, self._workdir, self._jobs)
        with ExitStack() as parts:
            self._household.enter()
            parts.callback(self._household.leave)
            self.transfers = Transfers(nursery, self.settings, self._workdir)
            parts.callback(self.transfers.stop)
            self.transfers.check()
            self._connect(parts)
            self._build(nursery)
            self._start_parts(parts)
            self._parts = parts.pop_all()
        self._started = True
        self._events.publish(
            "executor.ready",
            host=host_and_ip()[0],
            pool=self.settings.pool,
            threads=self.settings.threads,
        )
        log.info(
            "executor %s takes jobs of pool %s in %d slots",
            self.id,
            self.settings.pool,
            self.settings.threads,
        )

    def _start_parts(self, parts: ExitStack) -> None:
        """Start the parts; `parts` ends them, the last one here first, whether started or not."""
        parts.callback(self._subscriptions.remove_control)
        parts.callback(self._say_stopped)
        parts.callback(self._control.stop)
        parts.callback(self._keeper.stop, _FLUSH_SECONDS)
        parts.callback(self._outbox.stop, _FLUSH_SECONDS)
        parts.callback(self._end_slots)
        parts.callback(self._intake.stop)
        parts.callback(self._heartbeat.stop)
        parts.callback(self._household.housekeeping.stop)
        self._keeper.start()
        self._outbox.start()
        self._subscriptions.ensure()
        if self.settings.control:
            self._control.start()
        for slot in self._slots:
            slot.start()
        self._heartbeat.start()
        self._household.housekeeping.start()
        # Last: what fails before it costs no job.
        self._intake.start()

    def request_stop(self, reason: str = "asked to", *, now: bool = False) -> None:
        """Ask for the stop; `now`: without any grace for running jobs. Never blocks."""
        if not self._stop_wanted.is_set():
            self._stop_reason = reason
        if now:
            self._kill_wanted.set()
        self._stop_wanted.set()
        self._jobs.wake()

    def stop(self) -> None:
        """Stop softly, and return when all is settled and closed. Idempotent."""
        self.request_stop()
        with self._stopping:
            if self._stopped or not self._started:
                return
            self._stopped = True
            self._events.publish("executor.draining", reason=self._stop_reason)
            log.info("executor %s stops: %s", self.id, self._stop_reason)
            self._intake.stop()
            drain(self._jobs, self.settings.grace_seconds, self._kill_wanted)
            deadline = time.monotonic() + _FLUSH_SECONDS
            self._end_slots()
            self._jobs.wait_until_none(max(0.1, deadline - time.monotonic()))
            self._parts.close()
            log.info("executor %s stopped", self.id)

    def _connect(self, parts: ExitStack) -> None:
        self._pubsub = self.settings.connect()
        parts.callback(self._pubsub.close)
        # Another connection, because ending the pulls ends that of the control listener too.
        self._job_pulls = self.settings.connect()
        parts.callback(self._job_pulls.close)
        self._events = EventPublisher(self._pubsub, self.settings.names, self.id)
        parts.callback(self._events.close)

    def _build(self, nursery: Nursery) -> None:
        updates = UpdateWriter(self.id, self.settings.pool)
        cancellations = Cancellations()
        self._subscriptions = Subscriptions(self._pubsub, self.settings, updates)
        self._outbox = Outbox(self._pubsub.publish, self._helper_died)
        self._keeper = LeaseKeeper(
            self._pubsub,
            self._subscriptions.jobs,
            self.settings.lease_seconds,
            on_lost=self._lease_lost,
            on_death=self._helper_died,
        )
        self._reporter = Reporter(
            updates=updates,
            names=self.settings.names,
            events=self._events,
            outbox=self._outbox,
            keeper=self._keeper,
            jobs=self._jobs,
            on_child_death=self.settings.on_child_death,
            on_outage=self.settings.on_outage,
        )
        self._build_sources(cancellations)
        numbers = range(1, self.settings.threads + 1)
        self._slots = [self._slot(number, nursery) for number in numbers]
        self._heartbeat = self._build_heartbeat()

    def _build_sources(self, cancellations: Cancellations) -> None:
        """What brings jobs, and what ends them."""
        self._intake = Intake(
            self._job_pulls,
            subscription=self._subscriptions.jobs,
            pool=self.settings.pool,
            keeper=self._keeper,
            jobs=self._jobs,
            cancellations=cancellations,
            reporter=self._reporter,
            repair=self._subscriptions.ensure_jobs,
            on_death=self._helper_died,
        )
        self._control = ControlListener(
            self._pubsub,
            subscription=self._subscriptions.control,
            jobs=self._jobs,
            cancellations=cancellations,
            repair=self._subscriptions.ensure_control,
        )

    def _build_heartbeat(self) -> Heartbeat:
        return Heartbeat(
            self.settings.heartbeat_seconds,
            pool=self.settings.pool,
            workdir=self._workdir,
            slots=self._slots,
            jobs=self._jobs,
            events=self._events,
            reporter=self._reporter,
            on_death=self._helper_died,
        )

    def _slot(self, number: int, nursery: Nursery) -> Slot:
        return Slot(
            self._household.child_options(number),
            intake=self._intake,
            nursery=nursery,
            transfers=self.transfers,
            reporter=self._reporter,
            keeper=self._keeper,
            household=self._household,
            jobs_per_child=self.settings.jobs_per_child,
            stop_wanted=self._stop_wanted,
            on_death=self._helper_died,
        )

    def _lease_lost(self, lease: Lease) -> None:
        for held in self._jobs.all():
            if held.lease is lease:
                held.interrupt(Interrupted(cause="lease lost", reason="lease lost"))

    def _helper_died(self, what: str) -> None:
        """An executor that has lost a part must not go on as if it had not."""
        self._dead_part = self._dead_part or what
        self.request_stop(what)

    def _end_slots(self) -> None:
        for slot in self._slots:
            slot.end()
        deadline = time.monotonic() + _FLUSH_SECONDS
        for slot in self._slots:
            slot.join(max(0.1, deadline - time.monotonic()))

    def _say_stopped(self) -> None:
        if self._started:
            self._events.publish("executor.stopped", reason=self._stop_reason)
