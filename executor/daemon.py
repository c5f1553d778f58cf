"""The executor daemon: its parts, its start, and its stop.

Threads: ``puller`` (`Intake`), ``slot-N`` (`Slot`, each with a child process), ``outbox``,
``backoff``, ``lease-*`` (`LeaseKeeper`), ``control``, ``heartbeat``, and the events' publisher.
Files are moved by a process of its own (`Transfers`), which ends after the slots.

The stop, in this order:

1. say so (``executor.draining``), pull no more, give back what no slot has taken, and at once what
   was to run again later;
2. let running jobs finish, with leases, control and events as ever: for ``grace_seconds``; for as
   long as they need when the stop has no hurry; not at all when the machine is about to go;
3. interrupt the others: each is asked, after some seconds killed, and given back;
4. wait until every result and every job given back is confirmed by Pub/Sub, then ack;
5. say so (``executor.stopped``), and close.

A more urgent request (`Urgency`) shortens what goes on; the most urgent kills at once. What cannot
be confirmed because Pub/Sub is away comes back by itself when its lease runs out.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import ExitStack
from types import TracebackType

from executor.announcer import Announcer, event_publisher
from executor.appetite import Appetite
from executor.backoff import Backoff
from executor.cancellations import Cancellations
from executor.control import ControlListener
from executor.drain import drain
from executor.files.transfers import Transfers
from executor.files.workspace import usable_workdir
from executor.heartbeat import Heartbeat
from executor.held_job import HeldJobs
from executor.household import Household
from executor.intake import Intake
from executor.lost_events import LostEvents
from executor.nursery import Nursery
from executor.outbox import Outbox
from executor.outcome import Interrupted
from executor.pool_news import PoolNews
from executor.presence import Presence
from executor.report import Reporter
from executor.settings import ExecutorSettings
from executor.slot import Slot
from executor.slots import end_slots, start_slots
from executor.stopping import StopRequest, Urgency
from executor.subscriptions import Subscriptions
from executor.updates import UpdateWriter
from messaging.errors import PortfireError
from messaging.leases import Lease, LeaseKeeper

log = logging.getLogger(__name__)

#: Seconds for results to be confirmed and acked at the end.
_FLUSH_SECONDS = 10.0
#: How long a result waits for others while many short jobs wait for a slot.
_RESULTS_LINGER_SECONDS = 0.03


class Executor:
    """Runs jobs of one pool until told to stop.

    `run` blocks; or `start`, and later `stop`. `request_stop` may be called from any thread. Use
    each object once.
    """

    def __init__(self, settings: ExecutorSettings) -> None:
        self.settings = settings
        self._stop = StopRequest()
        #: What `_helper_died` was told first.
        self._dead_part = ""
        self._started = False
        self._stopping = threading.Lock()  # held by whoever stops the executor
        self._stopped = False
        self._jobs = HeldJobs()
        #: What the dispatcher says of the pool.
        self.pool_news = PoolNews(settings.pool)

    @property
    def id(self) -> str:
        """The executor's id."""
        return self.settings.executor_id

    @property
    def running_jobs(self) -> int:
        """How many jobs it holds now, without those that only wait to run again."""
        return self._jobs.working()

    @property
    def idle_seconds(self) -> float:
        """For how long it has had nothing to do; 0.0 when it has, or has not started yet."""
        return self._jobs.idle_seconds() if self._started else 0.0

    @property
    def stop_urgency(self) -> Urgency:
        """How urgently it was asked to stop, if it was."""
        return self._stop.urgency

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
            self._stop.wanted.wait()
        finally:
            self._settle()
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
        self._announcer.ready()

    def _start_parts(self, parts: ExitStack) -> None:
        """Start the parts; `parts` ends them, the last one here first, whether started or not."""
        parts.callback(self._subscriptions.remove_control)
        parts.callback(self._announcer.stopped)
        parts.callback(self._control.stop)
        parts.callback(lambda: self._keeper.stop(self._flush_seconds()))
        parts.callback(lambda: self._outbox.stop(self._flush_seconds()))
        parts.callback(self._backoff.stop)
        parts.callback(self._end_slots)
        parts.callback(self._intake.stop)
        parts.callback(self._heartbeat.stop)
        parts.callback(self._household.housekeeping.stop)
        self._keeper.start()
        self._outbox.start()
        self._backoff.start()
        self._subscriptions.ensure()
        if self.settings.control:
            self._control.start()
        start_slots(self._slots)
        self._heartbeat.start()
        self._household.housekeeping.start()
        # Last: what fails before it costs no job.
        self._intake.start()

    def request_stop(
        self, reason: str = "asked to", *, now: bool = False, urgency: Urgency = Urgency.SOFT
    ) -> None:
        """Ask for the stop; `now`: without any grace for running jobs. Never blocks."""
        self._stop.ask(reason, Urgency.AT_ONCE if now else urgency)
        self._jobs.wake()

    def stop(self) -> None:
        """Stop softly, and return when all is settled and closed. Idempotent."""
        self.request_stop()
        self._settle()

    def _settle(self) -> None:
        if not self._stop.wanted.is_set():
            self.request_stop()
        with self._stopping:
            if self._stopped or not self._started:
                return
            self._stopped = True
            self._announcer.draining()
            self._intake.stop()
            self._backoff.hurry()
            drain(self._jobs, self.settings.grace_seconds, self._stop, self._announcer.draining)
            deadline = time.monotonic() + self._flush_seconds()
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
        self._events = event_publisher(self._pubsub, self.settings)
        parts.callback(LostEvents(self._events).end)
        parts.callback(self._events.close)
        self._announcer = Announcer(self.settings, self._events, self._stop)

    def _build(self, nursery: Nursery) -> None:
        updates = UpdateWriter(self.id, self.settings.pool)
        cancellations = Cancellations()
        self._subscriptions = Subscriptions(self._pubsub, self.settings, updates)
        self._outbox = Outbox(self._pubsub.publish, self._helper_died, self._patience)
        self._backoff = Backoff(self._helper_died)
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
            backoff=self._backoff,
            on_child_death=self.settings.on_child_death,
            on_outage=self.settings.on_outage,
        )
        self._build_sources(cancellations)
        numbers = range(1, self.settings.threads + 1)
        self._slots = [self._slot(number, nursery) for number in numbers]
        self._heartbeat = self._build_heartbeat(updates)

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
            appetite=Appetite(self.settings.threads),
            repair=self._subscriptions.ensure_jobs,
            on_death=self._helper_died,
        )
        self._control = ControlListener(
            self._pubsub,
            subscription=self._subscriptions.control,
            jobs=self._jobs,
            cancellations=cancellations,
            news=self.pool_news,
            repair=self._subscriptions.ensure_control,
        )

    def _build_heartbeat(self, updates: UpdateWriter) -> Heartbeat:
        seconds = self.settings.heartbeat_seconds
        presence = Presence(updates, self.settings.names, self._outbox, self._slots, seconds)
        return Heartbeat(
            seconds,
            pool=self.settings.pool,
            workdir=self._workdir,
            slots=self._slots,
            jobs=self._jobs,
            events=self._events,
            reporter=self._reporter,
            presence=presence,
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
            stop_wanted=self._stop.wanted,
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

    def _patience(self) -> float:
        return _RESULTS_LINGER_SECONDS if self._intake.has_waiting else 0.0

    def _end_slots(self) -> None:
        end_slots(self._slots, self._flush_seconds())

    def _flush_seconds(self) -> float:
        return 2.0 if self._stop.urgency is Urgency.PREEMPTED else _FLUSH_SECONDS
