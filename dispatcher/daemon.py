"""The dispatcher: one loop that applies updates, claims, publishes, and checks.

::

             ┌────────────────────────── one turn ───────────────────────────┐
  inbox ────►│ apply updates ─► claim READY ─► publish ─► check, now and then │─► wait
             └───────────────────────────────────────────────────────────────┘

All of it happens in the thread that calls `Dispatcher.run`, so that nothing of the LaunchPad needs
a lock of ours; other threads only pull, beat and watch. When MongoDB or Pub/Sub is away, the turn
is given up where it stands and tried again: every step may be repeated. Several dispatchers may do
all this at once for one pool (see `roster`): each step is guarded by what it was decided on.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

from dispatcher.beats import Beats
from dispatcher.counts import Counts
from dispatcher.launchpad import database_errors, is_away, where
from dispatcher.parts import Parts
from dispatcher.ready_watch import ReadyWatch
from dispatcher.receiver import Receiver
from dispatcher.roster import MembershipLostError
from dispatcher.settings import DispatcherSettings
from dispatcher.topology_watch import TopologyWatch
from dispatcher.workflow_errors import WorkflowBusyError
from messaging.errors import NotFoundError, PortfireError, ServiceError
from messaging.pubsub import PubSub

log = logging.getLogger(__name__)

#: Pause after a turn that failed because MongoDB or Pub/Sub was away, in seconds.
_RETRY_SECONDS = 0.5
#: With so many jobs in flight no executor waits for the next ones: claims and results may wait to
#: be carried out together, which costs a fraction; results for so many seconds.
_PLENTY = 64
_GATHER_SECONDS = 0.03
#: How often a drained dispatcher looks whether there is more to come, in seconds.
_DRAINED_SECONDS = 1.0

_Helper = Beats | ReadyWatch | Receiver | TopologyWatch


class Dispatcher:
    """Feeds one pool from one LaunchPad. `run` blocks; `stop` may be called from anywhere."""

    def __init__(
        self, settings: DispatcherSettings, launchpad: Any, fworker: Any, pubsub: PubSub
    ) -> None:
        """`launchpad` and `fworker` are FireWorks' own; `pubsub` is closed at the end of `run`."""
        self._settings = settings
        self._names = settings.names
        self._launchpad = launchpad
        self._pubsub = pubsub
        self._parts = Parts(settings, launchpad, fworker, pubsub, lambda why: log.error("%s", why))
        self.counts = self._parts.counts
        self._stopping = threading.Event()
        self._next_check = 0.0
        self._next_drained_look = 0.0
        self._lost_membership: MembershipLostError | None = None
        #: Something has become READY, or room for it.
        self._woken = False
        self._quiet_seconds: float | None = None
        self._last_work = 0.0
        self._failing = False

    def run(self) -> Counts:
        """Dispatch until `stop` is called or, with `drain`, until nothing is left to run.

        Raises UsageError when topics are missing and may not be created, or Pub/Sub or MongoDB
        refuse for good, and MembershipLostError when another dispatcher has taken this one for dead
        (begin anew with a new object); a service that is only away is waited for.
        """
        parts = self._parts
        helpers: list[_Helper] = []
        with parts.errors:
            try:
                self._prepare()
                log.info("dispatching %s to pool %s", where(self._launchpad), self._settings.pool)
                helpers += self._start_helpers()
                self._work()
            finally:
                parts.inbox.wake()
                self._pubsub.cancel_pulls()
                for helper in helpers:
                    helper.stop()
                with parts.settlement:
                    parts.applier.give_back(parts.inbox.take())
                self._leave()
                parts.announcements.close()
                self._pubsub.close()
                if not is_away(self._launchpad):
                    parts.roster.leave()
        if self._lost_membership is not None:
            raise self._lost_membership
        return self.counts

    def stop(self) -> None:
        """Make `run` return after its present turn. What is in flight stays so: jobs run on, and
        other dispatchers, or the next one, take their results. Thread-safe, idempotent.
        """
        self._stopping.set()
        self._parts.inbox.wake()

    def stop_claiming(self) -> None:
        """Claim nothing more, but go on applying results. Thread-safe."""
        self._parts.may_claim = False

    def settle(self, quiet_seconds: float = 0.5) -> None:
        """Make `run` return once no update has come for so long. Thread-safe."""
        self._quiet_seconds = quiet_seconds
        self._parts.inbox.nudge()

    def give_back_waiting(self) -> int:
        """Make READY again what waits in Pub/Sub for an executor; how many. After `run` only.

        For one whose Pub/Sub ends with it: nobody would ever run these.
        """
        with database_errors("give back what was reserved"):
            return self._parts.reconciliation.give_back_waiting()

    @property
    def in_flight(self) -> int:
        """Jobs published by this dispatcher, or taken over, and not ended."""
        return len(self._parts.table)

    def _work(self) -> None:
        pace, inbox = self._parts.pace, self._parts.inbox
        while not self._stopping.is_set():
            if self._try_turn():
                self._last_work = time.monotonic()
                pace.worked(self._last_work)
                if len(self._parts.table) >= _PLENTY:
                    # What comes meanwhile is applied together with it.
                    self._stopping.wait(_GATHER_SECONDS)
            elif self._is_done():
                break
            else:
                inbox.wait(self._wait_seconds())

    def _wait_seconds(self) -> float:
        seconds = self._parts.pace.wait_seconds(time.monotonic())
        if self._settings.drain or self._quiet_seconds is not None:
            # Somebody waits for the end.
            return min(seconds, self._settings.poll_seconds)
        return min(seconds, self._settings.check_seconds) if self._parts.in_flight else seconds

    def _lose_membership(self, error: MembershipLostError) -> None:
        """Another dispatcher has taken this one for dead: stop. Thread-safe."""
        self._lost_membership = error
        self.stop()

    def _start_helpers(self) -> list[_Helper]:
        """The threads that pull, look after the topics, beat, and watch for READY Fireworks."""
        parts, pool = self._parts, self._settings.pool
        subscriptions = (self._names.pool_updates(pool), self._names.pool_dead_jobs(pool))
        watch = TopologyWatch(
            self._pubsub,
            self._names,
            pool,
            self._settings.topology_seconds,
            on_missing=parts.inbox.topology_lost.set,
        )
        helpers: list[_Helper] = [watch]
        helpers += [Receiver(self._pubsub, name, parts.inbox) for name in subscriptions]
        if not parts.is_embedded:
            helpers.append(Beats(parts.roster, parts.report, self._lose_membership))
            helpers.append(ReadyWatch(self._launchpad, parts.pace, parts.inbox.nudge))
        return helpers

    def _prepare(self) -> None:
        """Join, make the topics, adopt what is in flight; waits for services that are away."""
        parts = self._parts
        while not self._stopping.is_set():
            try:
                with database_errors("take over what is in flight"):
                    parts.roster.join()
                    parts.topology.ensure()
                    parts.housekeeping.open()
            except (ServiceError, NotFoundError, WorkflowBusyError) as exc:
                self._pause(exc)
            else:
                return

    def _leave(self) -> None:
        if is_away(self._launchpad):
            return
        try:
            with database_errors("tidy up"):
                self._parts.store.leave()
        except PortfireError as exc:
            log.debug("%s", exc)

    def _try_turn(self) -> bool:
        """One turn; whether it did anything. Waits a little when a service is away."""
        try:
            worked = self._turn()
        except MembershipLostError as exc:
            self._lose_membership(exc)
            return True
        except (ServiceError, NotFoundError, WorkflowBusyError) as exc:
            if isinstance(exc, NotFoundError):
                self._parts.inbox.topology_lost.set()
            self._parts.housekeeping.interrupted()
            self._pause(exc)
            return True
        self._failing = False
        return worked

    def _turn(self) -> bool:
        parts = self._parts
        # Settled at the end, since the jobs that have become ready should not wait for it.
        with parts.settlement, database_errors("talk to the LaunchPad"):
            parts.roster.check()
            self._woken |= parts.inbox.take_nudge()
            if parts.inbox.topology_lost.is_set():
                # Cleared only afterwards: cut off (it writes to the LaunchPad), it comes again.
                parts.topology.restore()
                parts.inbox.topology_lost.clear()
            parts.housekeeping.recover()
            deliveries = parts.inbox.take()
            if deliveries:
                before = self.counts.completed + self.counts.fizzled
                parts.applier.apply(deliveries)
                parts.window.ended(self.counts.completed + self.counts.fizzled - before)
            self._woken |= bool(deliveries)
            published = parts.courier.deliver()
            if parts.may_claim:
                self._claim()
            published += parts.courier.deliver()
            self._check()
        return bool(deliveries or published)

    def _claim(self) -> None:
        """Claim as much as may be in flight; not for a few, as long as there is plenty."""
        parts, now = self._parts, time.monotonic()
        few = parts.in_flight >= _PLENTY and parts.room < parts.limit // 4
        if parts.room <= 0 or few:
            parts.claims.leave_some()
        elif parts.pace.is_due(now, woken=self._woken):
            self._woken = False
            parts.claim()

    def _check(self) -> None:
        parts, now = self._parts, time.monotonic()
        if now >= self._next_check:
            self._next_check = now + self._settings.check_seconds
            parts.reconciliation.cancel_unwanted()
            parts.reconciliation.republish_lost(self._settings.lost_seconds)
        if parts.housekeeping.keeps_house:
            parts.pool_state.announce_when_due(now)
        parts.housekeeping.tend(now)

    def _is_done(self) -> bool:
        if self._quiet_seconds is not None:
            return time.monotonic() - self._last_work > self._quiet_seconds
        return self._settings.drain and self._is_drained()

    def _is_drained(self) -> bool:
        parts, now = self._parts, time.monotonic()
        if parts.in_flight or len(parts.inbox) or now < self._next_drained_look:
            return False
        self._next_drained_look = now + _DRAINED_SECONDS
        try:
            with database_errors("look for work"):
                return not (
                    parts.claims.anything_ready()
                    or parts.claims.anything_to_come()
                    or parts.housekeeping.anything_held()
                )
        except ServiceError as exc:
            self._pause(exc)
            return False

    def _pause(self, error: Exception) -> None:
        if not self._failing:
            self._failing = True
            log.warning("%s; trying again until it works", error)
        self._stopping.wait(_RETRY_SECONDS)
