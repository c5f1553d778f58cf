"""Many workflows locked, changed and written together.

Two round trips (one for a single workflow) lock them and see whether the copies in memory still
hold; one writes all that has changed and unlocks them. A workflow's document stays what FireWorks
makes of it, but for two fields: ``locked_by`` while it is locked, and the copy's seal until the
workflow is over.
"""

from __future__ import annotations

import datetime
import time
import uuid
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from pymongo import ReturnDocument

from dispatcher.bulk import Write, write_all
from dispatcher.journal import Holder
from dispatcher.set_aside import BusyWorkflows
from dispatcher.workflow_copies import WorkflowCopies
from dispatcher.workflow_copy import SEAL, WorkflowCopy

#: How long to wait for workflows that somebody else (an lpad command) has locked, in seconds.
LOCK_WAIT_SECONDS = 0.5
LOCK_RETRY_SECONDS = 0.02
#: The same for those that another dispatcher of our owner has locked.
_COLLEAGUE_SECONDS = 0.1


class WorkflowBatch:
    """The locked workflows of some Fireworks. `commit` ends it. Not thread-safe.

    All methods raise pymongo's errors; whoever lets one through leaves locks, which
    `WorkflowStore.recover` mends.
    """

    def __init__(
        self, launchpad: Any, holder: Holder, copies: WorkflowCopies, busy: BusyWorkflows
    ) -> None:
        self._launchpad = launchpad
        self._holder = holder
        self._copies = copies
        self._busy_workflows = busy
        #: Locked by us, by workflow.
        self._locked: dict[Any, WorkflowCopy] = {}
        self._by_fw_id: dict[int, WorkflowCopy] = {}
        #: Fireworks of workflows that somebody else keeps locked, and of none at all.
        self.busy: set[int] = set()
        self.missing: set[int] = set()

    def lock(self, fw_ids: Iterable[int], *, await_colleagues: bool = True) -> None:
        """Lock the workflows of these Fireworks, waiting a moment for those that are locked.

        Shorter for those that another dispatcher of this owner has locked, if at all: it may wait
        for ours.
        """
        wanted = set(fw_ids)
        self.busy = {fw_id for fw_id in wanted if self._busy_workflows.is_busy(fw_id)}
        wanted -= self.busy
        began = time.monotonic()
        patience = _COLLEAGUE_SECONDS if await_colleagues else 0.0
        while wanted:
            for copy in self._lock_free(wanted):
                self._take(copy, wanted)
            wanted -= self._by_fw_id.keys()
            if not wanted:
                return
            others = list(
                self._launchpad.workflows.find(
                    {"nodes": {"$in": list(wanted)}}, {"nodes": 1, "locked_by": 1}
                )
            )
            found = {fw_id for other in others for fw_id in other["nodes"]}
            self.missing |= wanted - found
            wanted &= found
            waited = time.monotonic() - began
            if waited >= patience:
                colleagues = f"{self._holder.owner}/"
                theirs = [o for o in others if o.get("locked_by", "").startswith(colleagues)]
                others = [other for other in others if other not in theirs]
                busy = wanted & {fw_id for other in theirs for fw_id in other["nodes"]}
                self.busy |= busy
                wanted -= busy
                if not wanted:
                    return
            is_known = all(self._busy_workflows.was_busy(other["_id"]) for other in others)
            if is_known or waited > LOCK_WAIT_SECONDS:
                for other in others:
                    self._busy_workflows.note(other["_id"], other["nodes"])
                self.busy |= wanted
                return
            # An lpad command holds the lock for milliseconds and has no way to tell us.
            time.sleep(LOCK_RETRY_SECONDS)

    def of(self, fw_id: int) -> WorkflowCopy | None:
        """The locked workflow of one of the Fireworks that `lock` was called for."""
        copy = self._by_fw_id.get(fw_id)
        return copy if copy is not None and copy.id in self._locked else None

    def release(self, copy: WorkflowCopy) -> dict[str, Any]:
        """Hand over a workflow with its lock, and all duties: its document as it is now."""
        self.let_go(copy)
        document: dict[str, Any] = self._launchpad.workflows.find_one({"_id": copy.id})
        return document

    def let_go(self, copy: WorkflowCopy) -> None:
        """It is no longer this batch's to commit, and its copy is not to be relied on."""
        self._locked.pop(copy.id, None)
        self._copies.forget(copy.id)

    def fizzled_state(self, copy: WorkflowCopy) -> str:
        """What FireWorks makes of the FIZZLED Fireworks of a workflow."""
        fizzled = copy.fizzled
        children = {child for fw_id in fizzled for child in copy.children[fw_id]}
        if any(not copy.children[fw_id] for fw_id in fizzled) or self.refusing(children):
            return "FIZZLED"
        return "RUNNING"

    def refusing(self, fw_ids: Collection[int]) -> set[int]:
        """Those Fireworks that do not run after FIZZLED parents."""
        found = self._launchpad.fireworks.find(
            {"fw_id": {"$in": list(fw_ids)}, "spec._allow_fizzled_parents": {"$exists": True}},
            {"fw_id": 1, "spec._allow_fizzled_parents": 1},
        )
        allowing = {fw["fw_id"] for fw in found if fw["spec"]["_allow_fizzled_parents"]}
        return set(fw_ids) - allowing

    def commit(self) -> set[int]:
        """Write the states that changed and unlock; Fireworks whose lock was taken from us."""
        seal = uuid.uuid4().hex
        writes = [self._write(copy, seal) for copy in self._locked.values() if copy.changed]
        untouched = [copy.id for copy in self._locked.values() if not copy.changed]
        written = write_all(self._launchpad.workflows, writes)
        lost = self._lost(seal) if written < len(writes) else set()
        for copy in self._locked.values():
            if copy.id in lost or (copy.changed and copy.is_over):
                self._copies.forget(copy.id)
            elif copy.changed:
                copy.sealed(seal)
        if untouched:
            self._launchpad.workflows.update_many(
                {"_id": {"$in": untouched}, "locked_by": self._holder.mark},
                {"$unset": {"locked": "", "locked_by": ""}},
            )
        return {fw_id for each in lost for fw_id in self._locked[each].states}

    def _lock_free(self, fw_ids: set[int]) -> Iterator[WorkflowCopy]:
        """Lock those that nobody has locked; gives what it locked."""
        known: dict[Any, WorkflowCopy] = {}
        unknown: list[int] = []
        for fw_id in fw_ids:
            copy = self._copies.find(fw_id)
            if copy is None:
                unknown.append(fw_id)
            else:
                known[copy.id] = copy
        if known:
            yield from self._checked(known)
        if unknown:
            yield from self._read({"nodes": {"$in": unknown}}, alone=len(unknown) == 1)

    def _lock_where(
        self, where: dict[str, Any], *, alone: bool, fields: dict[str, int] | None = None
    ) -> Iterable[dict[str, Any]]:
        """Lock those that nobody has locked; the documents of all that are ours now.

        `alone`: there can be no more than one. That takes a single round trip.
        """
        workflows, mark = self._launchpad.workflows, self._holder.mark
        free = {**where, "locked": {"$exists": False}}
        lock = {"$set": {"locked": True, "locked_by": mark}}
        if alone:
            found = workflows.find_one_and_update(
                free, lock, projection=fields, return_document=ReturnDocument.AFTER
            )
            return [found] if found else []
        workflows.update_many(free, lock)
        documents: Iterable[dict[str, Any]] = workflows.find({**where, "locked_by": mark}, fields)
        return documents

    def _checked(self, known: dict[Any, WorkflowCopy]) -> Iterator[WorkflowCopy]:
        """Those of the copies whose workflows we could lock and that still hold, and the others
        read again.
        """
        found = self._lock_where(
            {"_id": {"$in": list(known)}}, alone=len(known) == 1, fields={SEAL: 1, "state": 1}
        )
        stale = []
        gone = set(known)
        for document in found:
            gone.remove(document["_id"])
            copy = known[document["_id"]]
            # FireWorks' one change that leaves the seal is to make the whole workflow FIZZLED.
            there = (document.get(SEAL), document["state"])
            if copy.seal and there == (copy.seal, copy.stored_state):
                yield copy
            else:
                stale.append(copy.id)
        for workflow_id in gone:
            # Locked by somebody else, deleted, or after a reset not even the same workflow.
            self._copies.forget(workflow_id)
        if stale:
            where = {"_id": {"$in": stale}, "locked_by": self._holder.mark}
            yield from self._kept(self._launchpad.workflows.find(where))

    def _read(self, where: dict[str, Any], *, alone: bool) -> list[WorkflowCopy]:
        """Lock those that nobody has locked, and read them."""
        return self._kept(self._lock_where(where, alone=alone))

    def _kept(self, documents: Iterable[dict[str, Any]]) -> list[WorkflowCopy]:
        copies = [WorkflowCopy(document) for document in documents]
        self._copies.keep(copies)
        return copies

    def _take(self, copy: WorkflowCopy, wanted: set[int]) -> None:
        self._busy_workflows.forget(copy.id)
        self._locked[copy.id] = copy
        few, many = sorted((copy.states.keys(), wanted), key=len)
        self._by_fw_id.update((fw_id, copy) for fw_id in few if fw_id in many)

    def _write(self, copy: WorkflowCopy, seal: str) -> Write:
        if copy.state is None:
            copy.fizzled_state = self.fizzled_state(copy)
        fields: dict[str, Any] = {f"fw_states.{fw_id}": s for fw_id, s in copy.changed.items()}
        fields["state"] = copy.state
        fields["updated_on"] = datetime.datetime.now(datetime.timezone.utc)
        gone = {"locked": "", "locked_by": ""}
        if copy.is_over:
            gone[SEAL] = ""
        else:
            fields[SEAL] = seal
        where = {"_id": copy.id, "locked_by": self._holder.mark}
        return Write(where, {"$set": fields, "$unset": gone})

    def _lost(self, seal: str) -> set[Any]:
        """Which were not written: their lock had been taken."""
        changed = {copy.id: copy for copy in self._locked.values() if copy.changed}
        found = self._launchpad.workflows.find(
            {"_id": {"$in": list(changed)}, "locked_by": {"$exists": False}}, {SEAL: 1, "state": 1}
        )
        written = {
            document["_id"]
            for document in found
            if document.get(SEAL) == seal or changed[document["_id"]].is_over
        }
        return changed.keys() - written
