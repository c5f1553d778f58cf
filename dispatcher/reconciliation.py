"""Checks that compare what is in flight with what the LaunchPad and Pub/Sub say, and mend."""

from __future__ import annotations

import enum
import logging
import time
from typing import Any

from dispatcher.applier import Counts
from dispatcher.courier import Courier
from dispatcher.held_launches import Claim, HeldLaunches, attempt_to_publish, needs_publishing
from dispatcher.in_flight import InFlight, InFlightTable
from dispatcher.launch_documents import ACTIVE
from dispatcher.outbox import Outbox
from dispatcher.stored_workflow import WorkflowStore
from dispatcher.workflow_errors import WorkflowBusyError, WorkflowMissingError
from messaging.wire import Cancel

log = logging.getLogger(__name__)


class Running(enum.Enum):
    """What to think of launches that are found RUNNING."""

    ALIVE = "an executor runs it, or Pub/Sub will deliver it again"
    SUSPECT = "perhaps an executor runs it; if it is not heard of, its message is gone"
    DEAD = "nobody runs it any more, and its message is gone"


class Reconciliation:
    """Finds jobs that nobody wants any more, and launches whose message is gone.

    Not thread-safe; raises pymongo's errors and what `Outbox` raises. Everything may be repeated.
    """

    def __init__(
        self,
        launchpad: Any,
        store: WorkflowStore,
        held: HeldLaunches,
        courier: Courier,
        table: InFlightTable,
        outbox: Outbox,
        counts: Counts,
    ) -> None:
        self._launchpad = launchpad
        self._store = store
        self._held = held
        self._courier = courier
        self._table = table
        self._outbox = outbox
        self._counts = counts

    def adopt_active(self, *, waiting_are_gone: bool, running: Running) -> None:
        """Take over launches of ours that are RESERVED or RUNNING and not in the table.

        At a start those are what the dispatcher before us had in flight. Later they are what was
        paused while it waited for an executor, and resumed: then its message was cancelled, and it
        must be published again (`waiting_are_gone`), as after a loss of Pub/Sub's state. A RUNNING
        one is found later only when MongoDB lost its last writes.
        """
        known = {entry.launch_id for entry in self._table} | self._courier.launch_ids
        unknown = [launch_id for launch_id in self._held.ids() if launch_id not in known]
        for claim in self._held.load(unknown):
            if claim.firework is None:
                if needs_publishing(claim):
                    self._held.drop_stray(claim)
            elif claim.firework["state"] in ACTIVE:
                self._adopt(claim, waiting_are_gone, running)

    def cancel_unwanted(self) -> None:
        """Stop jobs whose Firework was defused, paused, rerun, ended or deleted by somebody."""
        entries = {entry.fw_id: entry for entry in self._table}
        if not entries:
            return
        found = self._launchpad.fireworks.find(
            {"fw_id": {"$in": list(entries)}, "state": {"$in": list(ACTIVE)}},
            {"fw_id": 1, "launches": 1},
        )
        wanted = {launch_id for firework in found for launch_id in firework["launches"]}
        for entry in self._table:
            if entry.launch_id not in wanted:
                self._cancel(entry)

    def republish_lost(self, silence: float) -> None:
        """Publish again, as a new attempt, what Pub/Sub lost; `silence` is in seconds."""
        lost = {entry.launch_id: entry for entry in self._table.lost(time.monotonic(), silence)}
        if not lost:
            return
        claims = self._held.load(list(lost))
        for launch_id in lost:
            self._table.discard(launch_id)
        for claim in claims:
            if claim.firework is not None:
                self._republish(claim, lost[claim.launch_id].attempt + 1)

    def give_back_waiting(self) -> int:
        """Make READY again what waits in Pub/Sub for an executor; how many."""
        given_back = 0
        for entry in [entry for entry in self._table if not entry.running]:
            self._table.discard(entry.launch_id)
            if self._held.is_waiting(entry.launch_id):
                self._launchpad.cancel_reservation(entry.launch_id)
                given_back += 1
        return given_back

    def _adopt(self, claim: Claim, waiting_are_gone: bool, running: Running) -> None:
        attempt = attempt_to_publish(claim)
        is_running = claim.launch["state"] == "RUNNING"
        if needs_publishing(claim):
            # Died between claiming and publishing, or before recording the latter; perhaps also
            # before the workflow's copy of the state was written.
            self._record_reserved(claim)
            self._courier.take([claim], attempt)
        elif running is Running.DEAD if is_running else waiting_are_gone:
            self._republish(claim, attempt + 1)
        else:
            suspect = is_running and running is Running.SUSPECT
            self._table.add(_entry(claim, attempt, running=is_running, suspect=suspect))

    def _record_reserved(self, claim: Claim) -> None:
        try:
            self._store.lock(claim.fw_id).commit_states({claim.fw_id: "RESERVED"})
        except (WorkflowBusyError, WorkflowMissingError) as exc:
            log.debug("%s", exc)

    def _republish(self, claim: Claim, attempt: int) -> None:
        self._counts.republished += 1
        log.warning("publishing launch %d again, as attempt %d", claim.launch_id, attempt)
        self._courier.take([claim], attempt)

    def _cancel(self, entry: InFlight) -> None:
        cancel = Cancel(
            job=entry.job,
            attempt=entry.attempt,
            reason="its Firework was defused, paused, rerun, ended or deleted",
        )
        self._outbox.cancel(cancel)
        self._table.discard(entry.launch_id)
        self._counts.cancelled += 1
        log.info("cancelled job %s: its Firework is no longer running", entry.job)


def _entry(claim: Claim, attempt: int, running: bool, suspect: bool) -> InFlight:
    return InFlight(
        job=claim.job_id,
        launch_id=claim.launch_id,
        fw_id=claim.fw_id,
        attempt=attempt,
        running=running,
        heard=time.monotonic(),
        suspect=suspect,
    )
