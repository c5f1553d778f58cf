"""The dispatcher: one loop that applies updates, claims, publishes, and checks.

::

             ┌────────────────────────── one turn ───────────────────────────┐
  inbox ────►│ apply updates ─► claim READY ─► publish ─► check, now and then │─► wait
             └───────────────────────────────────────────────────────────────┘

All of it happens in the thread that calls `Dispatcher.run`, so that nothing of the LaunchPad needs
a lock of ours; other threads only pull. When MongoDB or Pub/Sub is away, the turn is given up where
it stands and tried again: every step may be repeated.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

from dispatcher.announcements import Announcements
from dispatcher.applier import DISPATCHER, Applier, Counts, ended_by_dispatcher
from dispatcher.claims import Claims
from dispatcher.courier import Courier, Parcel
from dispatcher.held_launches import HeldLaunches
from dispatcher.in_flight import InFlightTable
from dispatcher.journal import Holder
from dispatcher.launch_documents import Claimant
from dispatcher.launchpad import database_errors, is_embedded, where
from dispatcher.outbox import Outbox
from dispatcher.pool_state import PoolStateAnnouncer
from dispatcher.receiver import Inbox, Receiver
from dispatcher.reconciliation import Reconciliation, Running
from dispatcher.settings import DispatcherSettings
from dispatcher.stored_workflow import WorkflowStore
from dispatcher.tenure import Tenure, TenureKeeper, TenureLostError
from dispatcher.topology_watch import TopologyCare, TopologyWatch
from dispatcher.updates import Updates
from dispatcher.workflow_errors import WorkflowBusyError
from events.publisher import EventPublisher
from messaging.errors import NotFoundError, PortfireError, ServiceError
from messaging.pubsub import PubSub

log = logging.getLogger(__name__)

#: Pause after a turn that failed because MongoDB or Pub/Sub was away, in seconds.
_RETRY_SECONDS = 0.5
#: How often to look for launches of ours that are not in the table, in seconds.
_ADOPT_SECONDS = 5.0
#: How often a drained dispatcher looks whether there is more to come, in seconds.
_DRAINED_SECONDS = 1.0


class Dispatcher:
    """Feeds one pool from one LaunchPad. `run` blocks; `stop` may be called from anywhere."""

    def __init__(
        self, settings: DispatcherSettings, launchpad: Any, fworker: Any, pubsub: PubSub
    ) -> None:
        """`launchpad` and `fworker` are FireWorks' own; `pubsub` is closed at the end of `run`."""
        self.counts = Counts()
        self._settings = settings
        self._names = settings.names
        self._launchpad = launchpad
        self._pubsub = pubsub
        self._stopping = threading.Event()
        self._inbox = Inbox()
        self._table = InFlightTable()
        owner = f"portfire/{settings.prefix}/{settings.pool}"
        self._tenure = Tenure(launchpad, owner)
        self._store = WorkflowStore(launchpad, Holder(owner, self._tenure.instance))
        self._updates = Updates(launchpad, self._store)
        outbox = Outbox(pubsub, self._names)
        self._claimant = Claimant(prefix=settings.prefix, pool=settings.pool)
        self._held = HeldLaunches(launchpad, self._claimant)
        self._claims = Claims(launchpad, self._store, self._held, self._claimant, fworker)
        self._topology = TopologyCare(pubsub, settings, self._note_loss)
        self._announcements = Announcements(
            launchpad, EventPublisher(pubsub, self._names, DISPATCHER)
        )
        self._pool_state = PoolStateAnnouncer(
            pubsub, self._names, settings.pool, launchpad, fworker.query, self._table
        )
        self._applier = self._new_applier(outbox)
        self._courier = Courier(
            self._claims, outbox, self._table, settings.max_attempts, self._refuse
        )
        self._reconciliation = Reconciliation(
            launchpad, self._store, self._held, self._courier, self._table, outbox, self.counts
        )
        self._next_check = 0.0
        self._next_adoption = 0.0
        self._next_drained_look = 0.0
        self._lost_office: TenureLostError | None = None
        self._claiming = True
        self._quiet_seconds: float | None = None
        self._last_work = 0.0
        self._failing = False
        #: A turn was cut off: what it had begun in the LaunchPad must be finished first.
        self._interrupted = False
        #: Topics or subscriptions were missing; not all that was lost with them is sent again.
        self._pubsub_is_new = False

    def _new_applier(self, outbox: Outbox) -> Applier:
        return Applier(
            self._pubsub,
            self._names,
            self._settings.pool,
            self._updates,
            self._table,
            outbox,
            self.counts,
            self._announcements,
            on_loss=self._note_loss,
        )

    def run(self) -> Counts:
        """Dispatch until `stop` is called or, with `drain`, until nothing is left to run.

        Raises UsageError when topics are missing and may not be created, or Pub/Sub or MongoDB
        refuse for good, and TenureLostError when another dispatcher has taken over; a service that
        is only away is waited for.
        """
        self._tenure.await_vacancy(self._stopping)
        helpers: list[TenureKeeper | Receiver | TopologyWatch] = []
        try:
            if not is_embedded(self._launchpad):
                helpers.append(TenureKeeper(self._tenure, self._leave_office))
            self._prepare()
            log.info("dispatching %s to pool %s", where(self._launchpad), self._settings.pool)
            helpers += self._start_helpers()
            self._work()
        finally:
            self._inbox.wake()
            self._pubsub.cancel_pulls()
            for helper in helpers:
                helper.stop()
            self._applier.give_back(self._inbox.take())
            self._leave()
            self._announcements.close()
            self._pubsub.close()
            self._tenure.give_up()
        if self._lost_office is not None:
            raise self._lost_office
        return self.counts

    def stop(self) -> None:
        """Make `run` return after its present turn. What is in flight stays so: jobs run on, and
        the next dispatcher takes their results. Thread-safe, idempotent.
        """
        self._stopping.set()
        self._inbox.wake()

    def stop_claiming(self) -> None:
        """Claim nothing more, but go on applying results. Thread-safe."""
        self._claiming = False

    def settle(self, quiet_seconds: float = 0.5) -> None:
        """Make `run` return once no update has come for so long. Thread-safe."""
        self._quiet_seconds = quiet_seconds

    def give_back_waiting(self) -> int:
        """Make READY again what waits in Pub/Sub for an executor; how many. After `run` only.

        For one whose Pub/Sub ends with it: nobody would ever run these.
        """
        with database_errors("give back what was reserved"):
            return self._reconciliation.give_back_waiting()

    @property
    def in_flight(self) -> int:
        """Jobs published and not ended."""
        return len(self._table)

    def _work(self) -> None:
        while not self._stopping.is_set():
            if self._try_turn():
                self._last_work = time.monotonic()
            elif self._is_done():
                break
            else:
                self._inbox.wait(self._settings.poll_seconds)

    def _leave_office(self, error: TenureLostError) -> None:
        """Another dispatcher has taken over: stop. Thread-safe."""
        self._lost_office = error
        self.stop()

    def _start_helpers(self) -> list[Receiver | TopologyWatch]:
        """The threads that pull, and the one that looks after the topics."""
        pool = self._settings.pool
        subscriptions = (self._names.pool_updates(pool), self._names.pool_dead_jobs(pool))
        watch = TopologyWatch(
            self._pubsub,
            self._names,
            pool,
            self._settings.topology_seconds,
            on_missing=self._inbox.topology_lost.set,
        )
        return [watch, *(Receiver(self._pubsub, name, self._inbox) for name in subscriptions)]

    def _prepare(self) -> None:
        """Repair, make the topics, adopt what is in flight; waits for services that are away."""
        while not self._stopping.is_set():
            try:
                with database_errors("take over what is in flight"):
                    self._topology.ensure()
                    self._recover()
                    is_new = self._pubsub_is_new = self._tenure.pubsub_is_new
                    running = Running.SUSPECT if is_new else Running.ALIVE
                    self._reconciliation.adopt_active(
                        waiting_are_gone=is_new,
                        running=Running.DEAD if self._settings.predecessors_dead else running,
                    )
            except (ServiceError, NotFoundError, WorkflowBusyError) as exc:
                self._pause(exc)
            else:
                if len(self._table) + len(self._courier):
                    count = len(self._table) + len(self._courier)
                    log.info("took over %d jobs that were in flight", count)
                return

    def _recover(self) -> None:
        """Finish what a dead dispatcher, or we ourselves, were interrupted at."""
        repaired = self._store.recover()
        repaired += self._updates.settle_ended(self._claimant)
        self._interrupted = False
        if repaired:
            log.warning("repaired %d workflows whose update had been interrupted", repaired)

    def _leave(self) -> None:
        try:
            with database_errors("tidy up"):
                self._store.leave()
        except PortfireError as exc:
            log.debug("%s", exc)

    def _try_turn(self) -> bool:
        """One turn; whether it did anything. Waits a little when a service is away."""
        try:
            worked = self._turn()
        except (ServiceError, NotFoundError, WorkflowBusyError) as exc:
            if isinstance(exc, NotFoundError):
                self._inbox.topology_lost.set()
            self._interrupted = True
            self._pause(exc)
            return True
        self._failing = False
        return worked

    def _turn(self) -> bool:
        with database_errors("talk to the LaunchPad"):
            if self._inbox.topology_lost.is_set():
                # Cleared only afterwards: cut off (it writes to the LaunchPad), it comes again.
                self._topology.restore()
                self._inbox.topology_lost.clear()
            if self._interrupted:
                self._recover()
            deliveries = self._inbox.take()
            if deliveries:
                self._applier.apply(deliveries)
            room = self._settings.max_in_flight - len(self._table) - len(self._courier)
            if room > 0 and self._claiming:
                claimed = self._claims.claim(room)
                self.counts.claimed += len(claimed)
                self._courier.take(claimed)
            published = self._courier.deliver()
            if self._pubsub_is_new and not self._table.has_lost():
                # Only now: until all is published again, a successor must know of the loss.
                self._tenure.pubsub_is_new = self._pubsub_is_new = False
            self._check()
        return bool(deliveries or published)

    def _check(self) -> None:
        now = time.monotonic()
        if now >= self._next_check:
            self._next_check = now + self._settings.check_seconds
            self._reconciliation.cancel_unwanted()
            self._reconciliation.republish_lost(self._settings.lost_seconds)
        self._pool_state.announce_when_due(now)
        if now >= self._next_adoption:
            self._next_adoption = now + _ADOPT_SECONDS
            self._reconciliation.adopt_active(waiting_are_gone=True, running=Running.SUSPECT)

    def _is_done(self) -> bool:
        if self._quiet_seconds is not None:
            return time.monotonic() - self._last_work > self._quiet_seconds
        return self._settings.drain and self._is_drained()

    def _is_drained(self) -> bool:
        now = time.monotonic()
        if len(self._table) or len(self._courier) or len(self._inbox):
            return False
        if now < self._next_drained_look:
            return False
        self._next_drained_look = now + _DRAINED_SECONDS
        try:
            with database_errors("look for work"):
                return not (self._claims.anything_ready() or self._claims.anything_to_come())
        except ServiceError as exc:
            self._pause(exc)
            return False

    def _note_loss(self) -> None:
        """None of the messages on their way can be relied on any more."""
        self._tenure.pubsub_is_new = self._pubsub_is_new = True
        self._table.suspect_all(time.monotonic())

    def _refuse(self, parcel: Parcel, reason: str) -> bool:
        log.error("%s", reason)
        claim = parcel.claim
        return self._applier.fizzle(
            ended_by_dispatcher(claim.job_id, claim.launch_id, parcel.attempt, reason)
        )

    def _pause(self, error: Exception) -> None:
        if not self._failing:
            self._failing = True
            log.warning("%s; trying again until it works", error)
        self._stopping.wait(_RETRY_SECONDS)
