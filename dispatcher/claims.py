"""Claims: READY Fireworks become RESERVED launches, which become job messages.

The order of the writes lets a killed dispatcher be followed by another: the launch document first
(a stray one hurts nobody), then the Firework, then the workflow's copy of the state; after the
message is published, its id as the launch's reservation id: `needs_publishing` sees what lacks it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fireworks.core.launchpad import LockedWorkflowError
from fireworks.fw_config import SORT_FWS
from fireworks.utilities.fw_serializers import recursive_dict
from fireworks.utilities.fw_utilities import get_my_host, get_my_ip
from pymongo import ASCENDING, DESCENDING
from pymongo.errors import PyMongoError

from dispatcher.bulk import Write, write_all
from dispatcher.held_launches import Claim, HeldLaunches
from dispatcher.launch_documents import ACTIVE, Claimant, noted, now_as_text, reserved_launch
from dispatcher.retries import retries_of
from dispatcher.set_aside import SetAside
from dispatcher.stored_workflow import WorkflowStore
from dispatcher.workflow_copy import WorkflowCopy
from messaging.retries import DEFAULT_RETRIES, Retries
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
        retries: Retries = DEFAULT_RETRIES,
    ) -> None:
        """`retries` are those of jobs whose Firework says nothing else."""
        self._retries = retries
        self._launchpad = launchpad
        self._store = store
        self._held = held
        self._claimant = claimant
        self._fworker = fworker
        self._worker = fworker.to_dict()
        self._host = get_my_host()
        self._ip = get_my_ip()
        #: Fireworks that cannot be claimed now, and those that were told of.
        self._hopeless = SetAside(_HOPELESS_SECONDS)
        self._told: set[int] = set()
        #: Whether `claim` left nothing READY.
        self._all_claimed = False

    def claim(self, limit: int) -> list[Claim]:
        """Reserve up to `limit` READY Fireworks of the pool, highest priority first.

        Those whose workflow somebody else has locked are left for the next call.
        """
        claimed: list[Claim] = []
        tried: set[int] = set()
        self._all_claimed = False
        while len(claimed) < limit:
            left_alone = self._hopeless.fw_ids | self._store.busy_fw_ids | tried
            candidates = self._candidates(limit - len(claimed), left_alone)
            some = self._claim_of(candidates)
            claimed += some
            tried |= {candidate["fw_id"] for candidate in candidates}
            if len(some) == len(candidates):
                break  # there are no more, or they are enough
        self._all_claimed = len(claimed) < limit
        return claimed

    def claim_freed(self, ready: Mapping[int, WorkflowCopy], limit: int) -> list[Claim]:
        """Reserve those of these Fireworks, READY since just now, that are the pool's.

        Their workflows are locked, and the caller's to write. None when others may have been READY
        before them: it is for `claim` to say who is first.
        """
        if not self._all_claimed or len(ready) > limit:
            return []
        candidates = self._candidates(limit, self._hopeless.fw_ids, among=list(ready))
        return self._reserve_in(
            ready, [firework for firework in candidates if not _may_be_duplicate(firework)]
        )

    def leave_some(self) -> None:
        """There may be READY Fireworks that `claim` was not called for."""
        self._all_claimed = False

    def _claim_of(self, candidates: Sequence[dict[str, Any]]) -> list[Claim]:
        """Reserve these, as far as possible, in their order."""
        order = {candidate["fw_id"]: place for place, candidate in enumerate(candidates)}
        duplicable = [fw["fw_id"] for fw in candidates if _may_be_duplicate(fw)]
        claimed = self._claim_unless_duplicates(duplicable)
        plain = [fw for fw in candidates if fw["fw_id"] not in duplicable]
        claimed += self._reserve(plain)
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
        """The job message of a claim; raises JobError, ValueError or TypeError: there can be none.

        `max_attempts` is that of jobs whose Firework says nothing else.
        """
        assert claim.firework is not None
        max_attempts, retries = retries_of(claim.firework["spec"], max_attempts, self._retries)
        firework = {**claim.firework, "state": "RUNNING", "launches": [], "archived_launches": []}
        return LaunchJob(
            job=claim.job_id,
            attempt=attempt,
            max_attempts=max_attempts,
            retries=retries,
            pool=self._claimant.pool,
            launch_id=claim.launch_id,
            fw_id=claim.fw_id,
            name=str(claim.firework.get("name", "")),
            workflow=claim.workflow,
            firework=recursive_dict(firework),
            fworker=self._worker,
            trackers=recursive_dict(claim.launch.get("trackers", [])),
        )

    def record_published(self, published: Sequence[Published]) -> None:
        """Note that these job messages have reached Pub/Sub."""
        updates = [
            noted(parcel.claim.launch, self._claimant, parcel.attempt, parcel.message_id)
            for parcel in published
        ]
        write_all(
            self._launchpad.launches,
            [Write(where, {"$set": fields}) for where, fields in updates],
        )

    def _candidates(
        self, limit: int, left_alone: set[int], among: Sequence[int] | None = None
    ) -> list[dict[str, Any]]:
        conditions = [{"state": "READY"}, self._fworker.query]
        if among is not None:
            conditions.append({"fw_id": {"$in": list(among)}})
        if left_alone:
            conditions.append({"fw_id": {"$nin": sorted(left_alone)}})
        sort = [("spec._priority", DESCENDING)]
        if SORT_FWS.upper() in ("FIFO", "FILO"):
            sort.append(("created_on", ASCENDING if SORT_FWS.upper() == "FIFO" else DESCENDING))
        found = self._launchpad.fireworks.find({"$and": conditions}, {"_id": 0})
        return list(found.sort(sort).limit(limit))

    def _reserve(self, fireworks: Sequence[dict[str, Any]]) -> list[Claim]:
        """Make the Fireworks RESERVED that nobody else has taken or locked."""
        if not fireworks:
            return []
        # What a colleague has locked, it is claiming.
        fw_ids = [firework["fw_id"] for firework in fireworks]
        batch = self._store.batch(fw_ids, await_colleagues=False)
        for fw_id in batch.missing:
            self._give_up(fw_id, f"Firework {fw_id} belongs to no workflow")
        copies = {fw_id: copy for fw_id in fw_ids if (copy := batch.of(fw_id)) is not None}
        claims = self._reserve_in(copies, [fw for fw in fireworks if fw["fw_id"] in copies])
        # A lock that was taken from us: the workflow's copy of a state on the way is for display.
        batch.commit()
        return claims

    def _reserve_in(
        self, copies: Mapping[int, WorkflowCopy], fireworks: Sequence[dict[str, Any]]
    ) -> list[Claim]:
        """The same for Fireworks whose workflows are locked, without writing these."""
        claims = []
        for claim in self._taken(self._prepare(fireworks)):
            copy = copies[claim.fw_id]
            copy.set_state(claim.fw_id, "RESERVED")
            claims.append(replace(claim, workflow=copy.name))
        return claims

    def _prepare(self, fireworks: Sequence[dict[str, Any]]) -> list[Claim]:
        """Write a launch document for each of these."""
        if not fireworks:
            return []
        first = self._new_launch_ids(len(fireworks))
        launches = [
            reserved_launch(self._claimant, first + place, fw, self._worker, self._host, self._ip)
            for place, fw in enumerate(fireworks)
        ]
        # Copies, because pymongo adds an _id to what it inserts.
        self._launchpad.launches.insert_many([dict(launch) for launch in launches])
        return [
            Claim(launch=launch, firework=firework)
            for firework, launch in zip(fireworks, launches, strict=True)
        ]

    def _taken(self, prepared: Sequence[Claim]) -> list[Claim]:
        """Make the Fireworks RESERVED; those that nobody else was quicker to take or change."""
        now = now_as_text()
        writes = [
            Write(
                {"fw_id": claim.fw_id, "state": "READY"},
                {
                    "$set": {"state": "RESERVED", "updated_on": now},
                    "$push": {"launches": claim.launch_id},
                },
            )
            for claim in prepared
        ]
        if write_all(self._launchpad.fireworks, writes) == len(writes):
            return list(prepared)
        ids = [claim.launch_id for claim in prepared]
        found = self._launchpad.fireworks.find({"launches": {"$in": ids}}, {"launches": 1})
        taken = {launch_id for firework in found for launch_id in firework["launches"]}
        for claim in prepared:
            if claim.launch_id not in taken:
                self._held.drop_stray(claim)
        return [claim for claim in prepared if claim.launch_id in taken]

    def _claim_unless_duplicates(self, fw_ids: Sequence[int]) -> list[Claim]:
        if fw_ids:
            # FireWorks itself would wait for a locked workflow for minutes.
            self._store.note_busy(fw_ids)
        free = [fw_id for fw_id in fw_ids if fw_id not in self._store.busy_fw_ids]
        # Duplicates that are READY at once come to share one launch, which is its last one's.
        claims = [claim for fw_id in free for claim in self._claim_unless_duplicate(fw_id)]
        return list({claim.launch_id: claim for claim in claims}.values())

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
        if self._hopeless.add(fw_id) and fw_id not in self._told:
            self._told.add(fw_id)
            log.warning("%s: it is left READY", reason)

    def _new_launch_ids(self, count: int) -> int:
        """The first of `count` new launch ids."""
        counter = self._launchpad.fw_id_assigner.find_one_and_update(
            {}, {"$inc": {"next_launch_id": count}}
        )
        return int(counter["next_launch_id"])


def _may_be_duplicate(firework: Mapping[str, Any]) -> bool:
    return bool(firework["spec"].get("_dupefinder"))


def _has_waiting_child(workflow: dict[str, Any], fw_ids: Iterable[int]) -> bool:
    return any(
        workflow["fw_states"].get(str(child)) == "WAITING"
        for fw_id in fw_ids
        for child in workflow["links"].get(str(fw_id), [])
    )
