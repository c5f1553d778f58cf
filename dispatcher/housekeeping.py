"""What a dispatcher looks after beside its own jobs: its colleagues, and what dead ones left.

Every member looks who is there, and takes up launches of its own that it lost sight of. The
housekeeper (see `roster`) also strikes off the dead, finishes what they were interrupted at, and
takes over their launches.
"""

from __future__ import annotations

import logging
import time

from dispatcher.executors import Executors
from dispatcher.held_launches import HeldLaunches
from dispatcher.in_flight import InFlightTable
from dispatcher.launch_documents import Claimant
from dispatcher.reconciliation import Reconciliation, Running
from dispatcher.roster import Company, Roster
from dispatcher.settings import DispatcherSettings
from dispatcher.stored_workflow import WorkflowStore
from dispatcher.updates import Updates
from dispatcher.workflow_errors import WorkflowBusyError

log = logging.getLogger(__name__)

#: Seconds between two looks at the roster, at what is held, and at what seldom goes wrong.
_LOOK_SECONDS = 2.0
_ADOPT_SECONDS = 5.0
_RARE_SECONDS = 30.0
#: How often what colleagues have applied is read, in seconds, while they are there.
_KEEP_UP_SECONDS = 0.15
#: Beats of executors, and of the lease, without which a RUNNING job counts as silent.
_SILENT_BEATS = 4.0
_SILENT_LEASES = 2.0


class Housekeeping:
    """For one dispatcher; its thread only. Raises pymongo's errors."""

    def __init__(
        self,
        settings: DispatcherSettings,
        roster: Roster,
        claimant: Claimant,
        store: WorkflowStore,
        updates: Updates,
        held: HeldLaunches,
        table: InFlightTable,
        reconciliation: Reconciliation,
        executors: Executors,
        *,
        alone: bool,
    ) -> None:
        """`alone`: the LaunchPad is embedded, there can be no colleagues."""
        self._settings = settings
        self._roster = roster
        self._claimant = claimant
        self._store = store
        self._updates = updates
        self._held = held
        self._table = table
        self._reconciliation = reconciliation
        self._executors = executors
        self._alone = alone
        self.company = Company(living=frozenset([roster.instance]))
        #: Launches of the pool that were active at the last look, whoever claimed them.
        self.pool_in_flight = 0
        self._must_recover = self._is_settling = False
        self._next_look = self._next_adoption = self._next_keeping_up = 0.0
        # At the start there is more important work.
        self._next_rare = time.monotonic() + _RARE_SECONDS

    @property
    def members(self) -> int:
        """How many dispatchers share the pool."""
        return len(self.company.living)

    @property
    def keeps_house(self) -> bool:
        """Whether this dispatcher is the housekeeper."""
        return self.company.keeps_house

    def open(self) -> None:
        """At the start: see who is there, and take over what the dead have left."""
        self._look()
        self._adopt(Running.DEAD if self._settings.predecessors_dead else Running.ALIVE)

    def note_loss(self) -> None:
        """Pub/Sub has lost its state: none of the messages on their way can be relied on."""
        self._claimant.losses = self._roster.note_loss()
        self._table.suspect_all(time.monotonic())

    def interrupted(self) -> None:
        """A turn was cut off: what it had begun in the LaunchPad must be finished first."""
        self._must_recover = True

    def recover(self) -> None:
        """Finish what we were interrupted at, and as housekeeper what the dead were; if need be."""
        if not self._must_recover:
            return
        repaired = self._store.recover(self._others() if self.keeps_house else None)
        if repaired:
            log.warning("repaired %d workflows whose update had been interrupted", repaired)
        self._must_recover, self._is_settling = False, True
        self._next_adoption = 0.0
        self._settle()

    def tend(self, now: float) -> None:
        """Do what is due, `now` being monotonic."""
        if now >= self._next_look:
            self._next_look = now + _LOOK_SECONDS
            if not self._alone:
                self._look()
            self._settle()
        if now >= self._next_adoption:
            self._next_adoption = now + _ADOPT_SECONDS
            self._adopt(Running.SUSPECT)
            self._executors.look()
            self._republish()
        if now >= self._next_keeping_up and self.members > 1:
            self._next_keeping_up = now + _KEEP_UP_SECONDS
            self.keep_up()
        if now >= self._next_rare:
            self._next_rare = now + _RARE_SECONDS
            self._tend_rarely()

    def anything_held(self) -> bool:
        """Whether the pool has launches in flight, whoever claimed them."""
        return bool(self._held.all())

    def keep_up(self) -> None:
        """Read what colleagues have applied to our launches."""
        self._reconciliation.keep_up(self._held.briefs([entry.launch_id for entry in self._table]))

    def _look(self) -> None:
        self._see(self._roster.look())
        if not self.keeps_house:
            return
        self._must_recover |= self.company.is_new_in_office
        for member in self.company.dead:
            if self._roster.strike_off(member):
                self._must_recover = True
                log.warning("the dispatcher %s is dead: taking over what it left", member.place)
        self.recover()

    def _see(self, company: Company) -> None:
        if company.is_new_in_office and not self.company.keeps_house:
            log.debug("this dispatcher keeps house from now on")
        if len(company.living) != self.members:
            log.info("%d dispatchers share the work of this pool", len(company.living))
        self.company = company
        if company.losses > self._claimant.losses:
            # A colleague has noticed it. At the start: nothing is on its way yet.
            self._claimant.losses = company.losses
            self._table.suspect_all(time.monotonic())

    def _others(self) -> frozenset[str]:
        """Whose work is to be left alone: all that have not been struck off."""
        # Asked for anew: one that has joined since is not to be taken for dead.
        self._see(self._roster.look())
        return self.company.living | {member.instance for member in self.company.dead}

    def _settle(self) -> None:
        """Refresh Fireworks of which a launch was ended by one that died then; again if busy."""
        if not self._is_settling:
            return
        try:
            self._updates.settle_ended(self._claimant)
        except WorkflowBusyError as exc:
            log.debug("%s; looked at again soon", exc)
        else:
            self._is_settling = False

    def _adopt(self, running: Running) -> None:
        briefs = self._held.all()
        self.pool_in_flight = len(briefs)
        self._reconciliation.adopt_own(briefs, self._roster.instance)
        if not self.keeps_house:
            return
        # MongoDB, killed, may have lost the writes that follow a launch's end, and not that.
        self._is_settling = True
        # After the launches were read: whoever claimed one of them is on the roster by now.
        adopted = self._reconciliation.adopt_orphans(
            briefs, self._others(), self._claimant.losses, running
        )
        if adopted:
            log.info("took over %d jobs that were in flight", adopted)

    def _republish(self) -> None:
        if self._executors.slots:
            beats = _SILENT_BEATS * self._executors.longest_heartbeat
            leases = _SILENT_LEASES * self._settings.lease_seconds
            self._reconciliation.republish_silent(max(beats, leases, self._settings.lost_seconds))

    def _tend_rarely(self) -> None:
        self._reconciliation.republish_old(self._settings.requeue_seconds)
        if self.keeps_house and not self._alone:
            self._reconciliation.mend_launchless()
            self._executors.forget_silent()
        if self._settings.unlock_seconds:
            self._store.unlock_left(self._settings.unlock_seconds)
