"""Checks that compare what is in flight with what the LaunchPad and Pub/Sub say, and mend."""

from __future__ import annotations

import enum
import logging
import time
from collections.abc import Callable, Collection
from typing import Any

from dispatcher.counts import Counts
from dispatcher.courier import Courier, Parcel
from dispatcher.held_launches import (
    Brief,
    Claim,
    HeldLaunches,
    attempt_to_publish,
    needs_publishing,
)
from dispatcher.in_flight import InFlight, InFlightTable
from dispatcher.launch_documents import ACTIVE, SILENCES
from dispatcher.outbox import Outbox
from dispatcher.stored_workflow import WorkflowStore
from messaging.wire import Cancel

log = logging.getLogger(__name__)

#: How long a launch without a note is left to whoever may be about to note it, in seconds.
_NOTELESS_SECONDS = 10.0


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
        *,
        max_attempts: int,
        refuse: Callable[[Parcel, str], bool],
    ) -> None:
        """`refuse` ends a launch that is not to be published again, with the reason."""
        self._launchpad = launchpad
        self._store = store
        self._held = held
        self._courier = courier
        self._table = table
        self._outbox = outbox
        self._counts = counts
        self._max_attempts = max_attempts
        self._refuse = refuse
        #: Launches without a note, and since when they are known.
        self._noteless: dict[int, float] = {}

    def adopt_own(self, briefs: Collection[Brief], me: str) -> None:
        """Take up launches of ours that are not in the table.

        Those are what was paused while it waited for an executor, and resumed: then its message was
        cancelled, and it must be published again. A RUNNING one is found only when MongoDB lost its
        last writes, or this dispatcher was cut off.
        """
        for claim in self._unknown(brief for brief in briefs if brief.dispatcher == me):
            attempt = attempt_to_publish(claim)
            if needs_publishing(claim):
                # Cut off between claiming and publishing, or before recording the latter; perhaps
                # also before the workflow's copy of the state was written.
                self._store.record([claim.fw_id])
                self._courier.take([claim], attempt)
            elif claim.launch["state"] == "RUNNING":
                self._table.add(_entry(claim, attempt, suspect=True))
            else:
                self._republish(claim, attempt + 1, "it was resumed")

    def adopt_orphans(
        self, briefs: Collection[Brief], living: Collection[str], losses: int, running: Running
    ) -> int:
        """Take over launches whose dispatcher is dead or has left; how many. Housekeeper only.

        What was published before the last of `losses` of Pub/Sub's state is published again.
        """
        orphans = {
            brief.launch_id: brief
            for brief in briefs
            if brief.dispatcher not in living and not self._may_be_noted_yet(brief, living)
        }
        adopted = 0
        for claim in self._unknown(orphans.values()):
            adopted += self._adopt(claim, orphans[claim.launch_id].losses < losses, running)
        return adopted

    def keep_up(self, briefs: Collection[Brief]) -> None:
        """Note in the table what other dispatchers have applied to our launches."""
        now = time.monotonic()
        for brief in briefs:
            if brief.has_ended:
                self._table.discard(brief.launch_id)
            elif brief.state in ACTIVE:
                self._table.read(brief.launch_id, brief.last_word, now)

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
        unwanted = [entry for entry in self._table if entry.launch_id not in wanted]
        self.keep_up(self._held.briefs([entry.launch_id for entry in unwanted]))
        for entry in unwanted:
            if entry.launch_id in self._table:
                self._cancel(entry)

    def republish_lost(self, silence: float) -> None:
        """Publish again, as a new attempt, what Pub/Sub lost; `silence` is in seconds."""
        lost = self._table.lost(time.monotonic(), silence)
        self._publish_again(lost, "Pub/Sub lost its message")

    def republish_silent(self, silence: float) -> None:
        """Publish again what runs and has not been heard of for so long: its message is gone.

        A dead executor's message comes back when its lease ends; to be used only while executors
        live that would have taken it since.
        """
        silent = {e.launch_id: e for e in self._table.silent(time.monotonic(), silence)}
        for claim in self._held.load(list(silent)):
            entry = silent[claim.launch_id]
            attempt = max(entry.attempt, attempt_to_publish(claim)) + 1
            reason = f"it is RUNNING, and nothing was heard of it for {silence:.0f} s"
            ours = self._held.take_over(claim, attempt, **{SILENCES: claim.silences + 1})
            if ours is None:
                continue
            self._table.discard(entry.launch_id)
            if claim.silences + 1 >= self._max_attempts:
                fallen = f"{reason}; given up after {claim.silences + 1} times"
                self._refuse(Parcel(claim=ours, attempt=attempt), fallen)
            elif ours.firework is not None:
                self._republish(ours, attempt, reason)

    def republish_old(self, seconds: float) -> None:
        """Publish again what has waited so long that Pub/Sub drops its message soon."""
        waiting = [entry.launch_id for entry in self._table if not entry.running]
        oldest = time.time() - seconds
        old = {
            brief.launch_id
            for brief in self._held.briefs(waiting)
            if brief.published is not None and brief.published < oldest
        }
        reason = f"it has waited for {seconds:.0f} s, and Pub/Sub keeps messages only for so long"
        self._publish_again([entry for entry in self._table if entry.launch_id in old], reason)

    def mend_launchless(self) -> None:
        """Make READY again what is RESERVED by a launch that is not there.

        A claimer that was stopped half-way, taken for dead and woken leaves these.
        """
        pipeline = [
            {"$match": {"state": "RESERVED"}},
            {"$project": {"fw_id": 1, "launches": 1}},
            {
                "$lookup": {
                    "from": self._launchpad.launches.name,
                    "localField": "launches",
                    "foreignField": "launch_id",
                    "as": "found",
                }
            },
            {"$match": {"found": []}},
        ]
        for firework in list(self._launchpad.fireworks.aggregate(pipeline)):
            fw_id, launches = firework["fw_id"], firework["launches"]
            where = {"fw_id": fw_id, "state": "RESERVED", "launches": launches}
            change = {"$set": {"state": "READY", "launches": []}}
            if self._launchpad.fireworks.update_one(where, change).matched_count:
                log.warning("Firework %d was RESERVED by a launch that is gone: READY again", fw_id)
                self._store.record([fw_id])

    def give_back_waiting(self) -> int:
        """Make READY again what waits in Pub/Sub for an executor; how many."""
        given_back = 0
        for entry in [entry for entry in self._table if not entry.running]:
            self._table.discard(entry.launch_id)
            if self._held.is_waiting(entry.launch_id):
                self._launchpad.cancel_reservation(entry.launch_id)
                given_back += 1
        return given_back

    def _unknown(self, briefs: Any) -> list[Claim]:
        """Those that are not in the table, and that an active Firework has."""
        known = {entry.launch_id for entry in self._table} | self._courier.launch_ids
        unknown = [brief.launch_id for brief in briefs if brief.launch_id not in known]
        claims = []
        for claim in self._held.load(unknown):
            if claim.firework is None:
                if needs_publishing(claim):
                    self._held.drop_stray(claim)
            elif claim.firework["state"] in ACTIVE:
                claims.append(claim)
        return claims

    def _may_be_noted_yet(self, brief: Brief, living: Collection[str]) -> bool:
        if brief.dispatcher or len(living) < 2:
            return False
        now = time.monotonic()
        self._noteless = {
            launch_id: since
            for launch_id, since in self._noteless.items()
            if now - since < 10 * _NOTELESS_SECONDS
        }
        return now - self._noteless.setdefault(brief.launch_id, now) < _NOTELESS_SECONDS

    def _adopt(self, claim: Claim, is_lost: bool, running: Running) -> bool:
        is_running = claim.launch["state"] == "RUNNING"
        unpublished = needs_publishing(claim)
        gone = is_running and running is Running.DEAD
        again = unpublished or gone or (is_lost and not is_running)
        # A new attempt also where the old one was perhaps never published: its claimer may only
        # have been stopped, and publish it yet.
        attempt = attempt_to_publish(claim) + again
        ours = self._held.take_over(claim, attempt)
        if ours is None:
            return False
        if unpublished:
            self._store.record([ours.fw_id])
            log.info("launch %d was claimed, not published, by a dead dispatcher", ours.launch_id)
            self._courier.take([ours], attempt)
        elif again:
            self._republish(
                ours, attempt, "its executor is dead" if gone else "its message is lost"
            )
        else:
            suspect = is_running and (is_lost or running is Running.SUSPECT)
            self._table.add(_entry(ours, attempt, suspect=suspect))
        return True

    def _publish_again(self, entries: Collection[InFlight], reason: str) -> None:
        attempts = {entry.launch_id: entry.attempt + 1 for entry in entries}
        claims = self._held.load(list(attempts))
        for launch_id in attempts:
            self._table.discard(launch_id)
        for claim in claims:
            if claim.firework is not None:
                self._republish(claim, attempts[claim.launch_id], reason)

    def _republish(self, claim: Claim, attempt: int, reason: str) -> None:
        self._counts.republished += 1
        log.warning(
            "publishing launch %d again, as attempt %d: %s", claim.launch_id, attempt, reason
        )
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


def _entry(claim: Claim, attempt: int, *, suspect: bool) -> InFlight:
    return InFlight(
        job=claim.job_id,
        launch_id=claim.launch_id,
        fw_id=claim.fw_id,
        attempt=attempt,
        running=claim.launch["state"] == "RUNNING",
        heard=time.monotonic(),
        suspect=suspect,
    )
