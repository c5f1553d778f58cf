"""Claims: READY Fireworks become RESERVED launches, which become job messages.

The order of the writes lets a killed dispatcher be followed by another: the launch document first
(a stray one hurts nobody), then the Firework, then the workflow's copy of the state; after the
message is published, its id as the launch's reservation id: `needs_publishing` sees what lacks it.
"""

from __future__ import annotations

import datetime
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from fireworks.core.launchpad import LockedWorkflowError
from fireworks.fw_config import SORT_FWS
from fireworks.utilities.fw_serializers import recursive_dict
from fireworks.utilities.fw_utilities import get_my_host, get_my_ip
from pymongo import ASCENDING, DESCENDING, UpdateOne
from pymongo.errors import PyMongoError

from dispatcher.held_launches import Claim, HeldLaunches
from dispatcher.launch_documents import ACTIVE, Claimant, noted, reserved_launch
from dispatcher.launchpad import is_embedded
from dispatcher.set_aside import SetAside
from dispatcher.stored_workflow import LockedWorkflow, WorkflowStore
from dispatcher.workflow_errors import WorkflowBusyError, WorkflowMissingError
from messaging.wire import LaunchJob

log = logging.getLogger(__name__)

#: When to try again what could not be claimed: FireWorks adds Fireworks before their workflow.
_HOPELESS_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class Published:
    """A claim whose job message has reached Pub/Sub."""

    claim: Claim
    attempt: int
    message_id: str


class Claims:
    """Claims for one pool. Not thread-safe; every method raises pymongo's errors."""

    def __init__(
        self,
        launchpad: Any,
        store: WorkflowStore,
        held: HeldLaunches,
        claimant: Claimant,
        fworker: Any,
    ) -> None:
        self._launchpad = launchpad
        self._store = store
        self._held = held
        self._claimant = claimant
        self._fworker = fworker
        self._host = get_my_host()
        self._ip = get_my_ip()
        #: Fireworks that cannot be claimed now, and those that were told of.
        self._hopeless = SetAside(_HOPELESS_SECONDS)
        self._told: set[int] = set()

    def claim(self, limit: int) -> list[Claim]:
        """Reserve up to `limit` READY Fireworks of the pool, highest priority first.

        Those whose workflow somebody else has locked are left for the next call.
        """
        candidates = self._unlocked_candidates(limit)
        order = {candidate["fw_id"]: place for place, candidate in enumerate(candidates)}
        duplicable = {c["fw_id"] for c in candidates if c.get("spec", {}).get("_dupefinder")}
        claimed = [claim for fw_id in duplicable for claim in self._claim_unless_duplicate(fw_id)]
        remaining = self._prepare([fw_id for fw_id in order if fw_id not in duplicable])
        while remaining:
            claimed += self._reserve_in_workflow(next(iter(remaining)), remaining)
        return sorted(claimed, key=lambda claim: order[claim.fw_id])

    def anything_ready(self) -> bool:
        """Whether a READY Firework of the pool is there."""
        return bool(self._candidates(1, self._hopeless.fw_ids))

    def anything_to_come(self) -> bool:
        """Whether other workers run something of the pool that has children waiting for it."""
        query = {"$and": [{"state": {"$in": list(ACTIVE)}}, self._fworker.query]}
        active = [fw["fw_id"] for fw in self._launchpad.fireworks.find(query, {"fw_id": 1})]
        if not active:
            return False
        workflows = self._launchpad.workflows.find(
            {"nodes": {"$in": active}}, {"links": 1, "fw_states": 1}
        )
        return any(_has_waiting_child(workflow, active) for workflow in workflows)

    def job(self, claim: Claim, attempt: int, max_attempts: int) -> LaunchJob:
        """The job message of a claim."""
        assert claim.firework is not None
        firework = {**claim.firework, "state": "RUNNING", "launches": [], "archived_launches": []}
        return LaunchJob(
            job=claim.job_id,
            attempt=attempt,
            max_attempts=max_attempts,
            pool=self._claimant.pool,
            launch_id=claim.launch_id,
            fw_id=claim.fw_id,
            name=str(claim.firework.get("name", "")),
            firework=recursive_dict(firework),
            fworker=self._fworker.to_dict(),
            trackers=recursive_dict(claim.launch.get("trackers", [])),
        )

    def record_published(self, published: Sequence[Published]) -> None:
        """Note that these job messages have reached Pub/Sub."""
        updates = [
            (
                {"launch_id": parcel.claim.launch_id, "state": {"$in": list(ACTIVE)}},
                noted(parcel.claim.launch, self._claimant, parcel.attempt, parcel.message_id),
            )
            for parcel in published
        ]
        if is_embedded(self._launchpad):
            # mongomock 4.3 does not take the bulk operations of today's pymongo.
            for query, history in updates:
                self._launchpad.launches.update_one(query, {"$set": {"state_history": history}})
        elif updates:
            self._launchpad.launches.bulk_write(
                [UpdateOne(query, {"$set": {"state_history": h}}) for query, h in updates],
                ordered=False,
            )

    def _unlocked_candidates(self, limit: int) -> list[dict[str, Any]]:
        """READY Fireworks whose workflows nobody has locked, so that none holds up the others."""
        while True:
            left_alone = self._hopeless.fw_ids | self._store.busy_fw_ids
            candidates = self._candidates(limit, left_alone)
            if not candidates or not self._store.note_busy([c["fw_id"] for c in candidates]):
                return candidates

    def _candidates(self, limit: int, left_alone: set[int]) -> list[dict[str, Any]]:
        conditions = [{"state": "READY"}, self._fworker.query]
        if left_alone:
            conditions.append({"fw_id": {"$nin": sorted(left_alone)}})
        sort = [("spec._priority", DESCENDING)]
        if SORT_FWS.upper() in ("FIFO", "FILO"):
            sort.append(("created_on", ASCENDING if SORT_FWS.upper() == "FIFO" else DESCENDING))
        found = self._launchpad.fireworks.find(
            {"$and": conditions}, {"fw_id": 1, "spec._dupefinder": 1}
        )
        return list(found.sort(sort).limit(limit))

    def _prepare(self, fw_ids: Sequence[int]) -> dict[int, Claim]:
        """Write a launch document for each Firework that is still READY; by Firework id."""
        if not fw_ids:
            return {}
        query = {"fw_id": {"$in": list(fw_ids)}, "state": "READY"}
        found = {fw["fw_id"]: fw for fw in self._launchpad.fireworks.find(query, {"_id": 0})}
        fireworks = [found[fw_id] for fw_id in fw_ids if fw_id in found]
        if not fireworks:
            return {}
        first = self._new_launch_ids(len(fireworks))
        launches = [
            reserved_launch(self._claimant, first + place, fw, self._fworker, self._host, self._ip)
            for place, fw in enumerate(fireworks)
        ]
        # Copies, because pymongo adds an _id to what it inserts.
        self._launchpad.launches.insert_many([dict(launch) for launch in launches])
        return {
            firework["fw_id"]: Claim(launch=launch, firework=firework)
            for firework, launch in zip(fireworks, launches, strict=True)
        }

    def _reserve_in_workflow(self, fw_id: int, prepared: dict[int, Claim]) -> list[Claim]:
        """Reserve what is `prepared` of the workflow of `fw_id`, and remove it from there."""
        try:
            locked = self._store.lock(fw_id)
        except WorkflowMissingError as exc:
            self._give_up(fw_id, str(exc))
            self._held.drop_stray(prepared.pop(fw_id))
            return []
        except WorkflowBusyError:
            # Locked since the candidates were chosen.
            for member in (self._store.busy_fw_ids | {fw_id}) & prepared.keys():
                self._held.drop_stray(prepared.pop(member))
            return []
        reserved = []
        try:
            for member in [member for member in prepared if member in locked.fw_ids]:
                claim = prepared.pop(member)
                if self._take(claim):
                    reserved.append(claim)
                else:
                    self._held.drop_stray(claim)
        finally:
            _record_states(locked, reserved)
        return reserved

    def _take(self, claim: Claim) -> bool:
        """Make the Firework RESERVED unless somebody else was quicker."""
        now = datetime.datetime.now(datetime.timezone.utc)
        result = self._launchpad.fireworks.update_one(
            {"fw_id": claim.fw_id, "state": "READY"},
            {
                "$set": {"state": "RESERVED", "updated_on": now},
                "$push": {"launches": claim.launch_id},
            },
        )
        return bool(result.modified_count)

    def _claim_unless_duplicate(self, fw_id: int) -> list[Claim]:
        """Let FireWorks look for duplicates; it reserves the Firework when there is none."""
        try:
            firework, launch_id = self._launchpad.reserve_fw(
                self._fworker, self._claimant.launch_dir, self._host, self._ip, fw_id
            )
        except PyMongoError:
            raise
        except LockedWorkflowError:
            self._store.note_busy([fw_id])
            return []
        except Exception as exc:  # noqa: BLE001 - whatever loading the user's classes raises
            self._give_up(fw_id, f"FireWorks cannot load Firework {fw_id}: {exc}")
            return []
        # FireWorks keeps a copy of every Firework it hands out, for ever.
        self._launchpad.backup_launch_data.clear()
        self._launchpad.backup_fw_data.clear()
        return self._held.load([launch_id]) if firework else []

    def _give_up(self, fw_id: int, reason: str) -> None:
        """Leave it READY, for a while; told of once."""
        self._hopeless.add(fw_id)
        if fw_id not in self._told:
            self._told.add(fw_id)
            log.warning("%s: it is left READY", reason)

    def _new_launch_ids(self, count: int) -> int:
        """The first of `count` new launch ids."""
        counter = self._launchpad.fw_id_assigner.find_one_and_update(
            {}, {"$inc": {"next_launch_id": count}}
        )
        return int(counter["next_launch_id"])


def _record_states(locked: LockedWorkflow, claims: Iterable[Claim]) -> None:
    # Also when it is empty: that unlocks.
    locked.commit_states({claim.fw_id: "RESERVED" for claim in claims})


def _has_waiting_child(workflow: dict[str, Any], fw_ids: Iterable[int]) -> bool:
    return any(
        workflow["fw_states"].get(str(child)) == "WAITING"
        for fw_id in fw_ids
        for child in workflow["links"].get(str(fw_id), [])
    )
