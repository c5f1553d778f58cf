"""A dispatcher's parts, put together."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from dispatcher.announcements import Announcements
from dispatcher.applier import Applier
from dispatcher.claims import Claims
from dispatcher.counts import Counts
from dispatcher.courier import Courier, Parcel
from dispatcher.executors import Executors
from dispatcher.held_launches import Claim, HeldLaunches
from dispatcher.housekeeping import Housekeeping
from dispatcher.in_flight import InFlightTable
from dispatcher.journal import Holder
from dispatcher.launch_documents import Claimant
from dispatcher.launchpad import is_embedded
from dispatcher.outbox import Outbox
from dispatcher.pace import Pace
from dispatcher.pool_state import PoolStateAnnouncer
from dispatcher.reader import DISPATCHER, ended_by_dispatcher
from dispatcher.receiver import Inbox
from dispatcher.recent_errors import RecentErrors
from dispatcher.reconciliation import Reconciliation
from dispatcher.roster import Roster
from dispatcher.settings import DispatcherSettings
from dispatcher.settlement import Settlement
from dispatcher.stored_workflow import WorkflowStore
from dispatcher.topology_watch import TopologyCare
from dispatcher.updates import Updates
from dispatcher.window import Window
from dispatcher.workflow_copy import WorkflowCopy
from events.publisher import EventPublisher
from messaging.pubsub import PubSub

log = logging.getLogger(__name__)


class Parts:
    """What one dispatcher consists of; they know each other here, and nowhere else."""

    def __init__(
        self,
        settings: DispatcherSettings,
        launchpad: Any,
        fworker: Any,
        pubsub: PubSub,
        log_refusal: Callable[[str], None],
    ) -> None:
        """`log_refusal` is told of launches that can never be sent."""
        names = settings.names
        owner = f"portfire/{settings.prefix}/{settings.pool}"
        self._log_refusal = log_refusal
        self.is_embedded = is_embedded(launchpad)
        #: Whether anything more is to be claimed.
        self.may_claim = True
        self.counts = Counts()
        self.errors = RecentErrors()
        self.inbox = Inbox()
        self.table = InFlightTable()
        self.window = Window(settings.max_in_flight)
        self.pace = Pace(settings.poll_seconds, settings.idle_poll_seconds)
        self.executors = Executors(launchpad, settings.prefix, settings.pool)
        self.roster = Roster(launchpad, owner, others_are_dead=settings.predecessors_dead)
        instance = self.roster.instance
        self.store = WorkflowStore(launchpad, Holder(owner, instance))
        updates = Updates(launchpad, self.store, self._claim_freed)
        outbox = Outbox(pubsub, names)
        claimant = Claimant(prefix=settings.prefix, pool=settings.pool, dispatcher=instance)
        held = HeldLaunches(launchpad, claimant)
        self.claims = Claims(launchpad, self.store, held, claimant, fworker, settings.retries)
        self.announcements = Announcements(launchpad, EventPublisher(pubsub, names, DISPATCHER))
        self.settlement = Settlement(pubsub)
        self.applier = Applier(
            self.settlement,
            names,
            settings.pool,
            updates,
            self.table,
            outbox,
            self.counts,
            self.announcements,
            on_loss=self._hear_of_loss,
            on_news=self.executors.hear,
        )
        self.courier = Courier(self.claims, outbox, self.table, settings.max_attempts, self._refuse)
        self.reconciliation = Reconciliation(
            launchpad,
            self.store,
            held,
            self.courier,
            self.table,
            outbox,
            self.counts,
            max_attempts=settings.max_attempts,
            refuse=self._refuse,
        )
        self.housekeeping = Housekeeping(
            settings,
            self.roster,
            claimant,
            self.store,
            updates,
            held,
            self.table,
            self.reconciliation,
            self.executors,
            alone=self.is_embedded,
        )
        self.topology = TopologyCare(pubsub, settings, self._note_loss)
        self.pool_state = PoolStateAnnouncer(
            pubsub, names, settings.pool, launchpad, fworker.query, self.pool_in_flight
        )

    @property
    def in_flight(self) -> int:
        """Jobs of this dispatcher that are published, or about to be, and have not ended."""
        return len(self.table) + len(self.courier)

    @property
    def limit(self) -> int:
        """How many that may be."""
        return self.window.share(self.executors.slots, self.housekeeping.members)

    @property
    def room(self) -> int:
        """How many more that are; none, or less, when there are as many already."""
        return self.limit - self.in_flight

    def pool_in_flight(self) -> int:
        """Jobs of the whole pool in flight, as far as this dispatcher knows."""
        if self.housekeeping.members == 1:
            return len(self.table)
        return max(len(self.table), self.housekeeping.pool_in_flight)

    def report(self) -> dict[str, Any]:
        """What `portfire dispatcher status` shows of this dispatcher. Thread-safe."""
        return {
            "counts": asdict(self.counts),
            "in_flight": self.in_flight,
            "limit": self.limit,
            "updates_waiting": len(self.inbox),
            "unpublished": len(self.courier),
            "errors": self.errors.report(),
            "time": time.time(),
        }

    def claim(self) -> None:
        """Claim as much as may be in flight."""
        self._take(self.claims.claim(self.room))

    def _claim_freed(self, ready: Mapping[int, WorkflowCopy]) -> None:
        if self.may_claim and self.room > 0:
            self._take(self.claims.claim_freed(ready, self.room))

    def _take(self, claims: Sequence[Claim]) -> None:
        self.counts.claimed += len(claims)
        self.courier.take(claims)

    def _hear_of_loss(self) -> None:
        """An executor has made the pool's subscription: what waited in an older one is lost."""
        if self.topology.has_made_lately:
            # It found missing what we did. What we have published since then is safe.
            return
        if len(self.table):
            log.warning("the subscription of the pool was lost; jobs are sent again")
        self._note_loss()

    def _note_loss(self) -> None:
        self.housekeeping.note_loss()

    def _refuse(self, parcel: Parcel, reason: str) -> bool:
        self._log_refusal(reason)
        claim = parcel.claim
        return self.applier.fizzle(
            ended_by_dispatcher(claim.job_id, claim.launch_id, parcel.attempt, reason)
        )
