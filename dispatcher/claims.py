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

from fireworks.fw_config import SORT_FWS
from fireworks.utilities.fw_serializers import recursive_dict
from fireworks.utilities.fw_utilities import get_my_host, get_my_ip
from pymongo import ASCENDING, DESCENDING, UpdateOne
from pymongo.errors import PyMongoError

from dispatcher.launch_documents import (
    ACTIVE,
    NOTE,
    Claimant,
    attempt_of,
    is_published,
    job_id,
    noted,
    reserved_launch,
)
from dispatcher.launchpad import is_embedded
from dispatcher.stored_workflow import (
    LockedWorkflow,
    WorkflowBusyError,
    WorkflowMissingError,
    WorkflowStore,
)
from messaging.wire import LaunchJob

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A launch of ours that is RESERVED or RUNNING, and what a job message needs of it."""

    launch: dict[str, Any]
    #: None when the Firework does not have this launch (any more).
    firework: dict[str, Any] | None

    @property
    def launch_id(self) -> int:
        """FireWorks' id of the launch."""
        return int(self.launch["launch_id"])

    @property
    def fw_id(self) -> int:
        """FireWorks' id of the Firework."""
        return int(self.launch["fw_id"])

    @property
    def job_id(self) -> str:
        """Correlation id of the job: the same for all attempts."""
        return job_id(self.launch)


@dataclass(frozen=True, kw_only=True)
class Published:
    """A claim whose job message has reached Pub/Sub."""

    claim: Claim
    attempt: int
    message_id: str


class Claims:
    """Claims for one pool. Not thread-safe; every method raises pymongo's errors."""

    def __init__(
        self, launchpad: Any, store: WorkflowStore, claimant: Claimant, fworker: Any
    ) -> None:
        self._launchpad = launchpad
        self._store = store
        self._claimant = claimant
        self._fworker = fworker
        self._host = get_my_host()
        self._ip = get_my_ip()
        #: Fireworks that cannot be claimed, each told of once.
        self._hopeless: set[int] = set()

    def claim(self, limit: int) -> list[Claim]:
        """Reserve up to `limit` READY Fireworks of the pool, highest priority first.

        Those whose workflow somebody else has locked are left for the next call.
        """
        candidates = self._candidates(limit)
        order = {candidate["fw_id"]: place for place, candidate in enumerate(candidates)}
        duplicable = {c["fw_id"] for c in candidates if c.get("spec", {}).get("_dupefinder")}
        claimed = [claim for fw_id in duplicable for claim in self._claim_unless_duplicate(fw_id)]
        remaining = self._prepare([fw_id for fw_id in order if fw_id not in duplicable])
        while remaining:
            claimed += self._reserve_in_workflow(next(iter(remaining)), remaining)
        return sorted(claimed, key=lambda claim: order[claim.fw_id])

    def anything_ready(self) -> bool:
        """Whether a READY Firework of the pool is there."""
        return bool(self._candidates(1))

    def anything_to_come(self) -> bool:
        """Whether other workers run something of the pool that has children waiting for it."""
        query = {"$and": [{"state": {"$in": list(ACTIVE)}}, self._fworker.query]}
        for firework in self._launchpad.fireworks.find(query, {"fw_id": 1}):
            fw_id = firework["fw_id"]
            workflow = self._launchpad.workflows.find_one(
                {"nodes": fw_id}, {f"links.{fw_id}": 1, "fw_states": 1}
            )
            children = workflow["links"].get(str(fw_id), []) if workflow else []
            if any(workflow["fw_states"].get(str(child)) == "WAITING" for child in children):
                return True
        return False

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

    def active(self) -> list[Claim]:
        """All launches of this pool that are RESERVED or RUNNING, after a restart."""
        mine = [
            {"launch_dir": self._claimant.launch_dir},
            {
                f"state_history.{NOTE}.prefix": self._claimant.prefix,
                f"state_history.{NOTE}.pool": self._claimant.pool,
            },
        ]
        launches = list(
            self._launchpad.launches.find({"state": {"$in": list(ACTIVE)}, "$or": mine}, {"_id": 0})
        )
        return self._with_fireworks(launches)

    def load(self, launch_ids: Sequence[int]) -> list[Claim]:
        """The named launches with their Fireworks."""
        query = {"launch_id": {"$in": list(launch_ids)}}
        return self._with_fireworks(list(self._launchpad.launches.find(query, {"_id": 0})))

    def is_waiting(self, launch_id: int) -> bool:
        """Whether this launch and its Firework are RESERVED."""
        launch = {"launch_id": launch_id, "state": "RESERVED"}
        firework = {"launches": launch_id, "state": "RESERVED"}
        return (
            self._launchpad.launches.find_one(launch) is not None
            and self._launchpad.fireworks.find_one(firework) is not None
        )

    def drop_stray(self, claim: Claim) -> None:
        """Delete a launch that was reserved but never came to be its Firework's."""
        self._launchpad.launches.delete_one(
            {"launch_id": claim.launch_id, "state": "RESERVED", "action": None}
        )

    def _candidates(self, limit: int) -> list[dict[str, Any]]:
        conditions = [{"state": "READY"}, self._fworker.query]
        if self._hopeless:
            conditions.append({"fw_id": {"$nin": sorted(self._hopeless)}})
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
        except (WorkflowBusyError, WorkflowMissingError) as exc:
            members = {fw_id}
            if isinstance(exc, WorkflowMissingError):
                log.warning("%s: it is left READY", exc)
                self._hopeless.add(fw_id)
            else:
                # All of them at once: to wait for the lock again for each would hold up everything.
                workflow = self._launchpad.workflows.find_one({"nodes": fw_id}, {"nodes": 1}) or {}
                members.update(workflow.get("nodes", []))
            for member in members & prepared.keys():
                self.drop_stray(prepared.pop(member))
            return []
        reserved = []
        try:
            for member in [member for member in prepared if member in locked.fw_ids]:
                claim = prepared.pop(member)
                if self._take(claim):
                    reserved.append(claim)
                else:
                    self.drop_stray(claim)
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
        except Exception as exc:  # noqa: BLE001 - whatever loading the user's classes raises
            log.error("Firework %d is left READY: FireWorks cannot load it: %s", fw_id, exc)
            self._hopeless.add(fw_id)
            return []
        # FireWorks keeps a copy of every Firework it hands out, for ever.
        self._launchpad.backup_launch_data.clear()
        self._launchpad.backup_fw_data.clear()
        return self.load([launch_id]) if firework else []

    def _new_launch_ids(self, count: int) -> int:
        """The first of `count` new launch ids."""
        counter = self._launchpad.fw_id_assigner.find_one_and_update(
            {}, {"$inc": {"next_launch_id": count}}
        )
        return int(counter["next_launch_id"])

    def _with_fireworks(self, launches: Iterable[dict[str, Any]]) -> list[Claim]:
        launches = list(launches)
        query = {"fw_id": {"$in": [launch["fw_id"] for launch in launches]}}
        found = {fw["fw_id"]: fw for fw in self._launchpad.fireworks.find(query, {"_id": 0})}
        claims = []
        for launch in launches:
            firework = found.get(launch["fw_id"])
            has_it = firework is not None and launch["launch_id"] in firework["launches"]
            claims.append(Claim(launch=launch, firework=firework if has_it else None))
        return claims


def attempt_to_publish(claim: Claim) -> int:
    """The attempt that a claim found after a restart is (to be) published as."""
    return attempt_of(claim.launch)


def needs_publishing(claim: Claim) -> bool:
    """Whether a crash came between claiming and recording that the message was published."""
    return claim.launch["state"] == "RESERVED" and not is_published(claim.launch)


def _record_states(locked: LockedWorkflow, claims: Iterable[Claim]) -> None:
    # Also when it is empty: that unlocks.
    locked.commit_states({claim.fw_id: "RESERVED" for claim in claims})
