"""A workflow in the LaunchPad's database, locked, refreshed by FireWorks' own rules, and written.

What happens to a workflow is decided by FireWorks' `Workflow.refresh`; this module only loads what
it asks for (without the user's classes, see `opaque`) and writes what it changed. Two things are
done differently from FireWorks, both so that a killed dispatcher leaves no damage:

* The lock names its holder (``locked_by`` beside FireWorks' ``locked``: owner and instance), and
  the write of the workflow document is also what unlocks it. A lock left by a dead dispatcher can
  be told from one that an ``lpad`` command holds right now; and one that was believed dead and has
  been succeeded cannot write, since its successor took its locks.
* A change of several documents goes through a journal: first all new documents are written there,
  then a commit mark, then they replace the old ones. At the next start a journal with its mark is
  carried out again, one without is thrown away; so `mod_spec`'s pushes and increments never happen
  twice, and no addition is left outside its workflow.
"""

from __future__ import annotations

import datetime
import logging
import re
import time
import traceback
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from bson import ObjectId
from pymongo.errors import PyMongoError

from dispatcher.journal import (
    Holder,
    clear_journal,
    lock_lost,
    recover_journal,
    take_lock,
    write_documents,
    write_journal,
)
from dispatcher.launchpad import refuses_document
from dispatcher.set_aside import BusyWorkflows
from dispatcher.stored_firework import StoredFirework, StoredWorkflow
from dispatcher.workflow_batch import LOCK_RETRY_SECONDS, LOCK_WAIT_SECONDS, WorkflowBatch
from dispatcher.workflow_copies import WorkflowCopies
from dispatcher.workflow_copy import SEAL
from dispatcher.workflow_errors import ActionError, WorkflowBusyError, WorkflowMissingError

log = logging.getLogger(__name__)


class LockedWorkflow:
    """One workflow while we hold its lock. Ends with exactly one of the three: `commit`,
    `commit_states` or `abandon`. Not thread-safe.

    The first two raise WorkflowBusyError when the lock was taken from us.
    """

    def __init__(self, launchpad: Any, document: dict[str, Any], holder: Holder) -> None:
        self._launchpad = launchpad
        self._id: ObjectId = document["_id"]
        self._holder = holder
        self.fw_ids: frozenset[int] = frozenset(document["nodes"])
        self._updated: set[int] = set()
        self.workflow = StoredWorkflow(
            [StoredFirework(fw_id, launchpad) for fw_id in document["nodes"]],
            # As it is: FireWorks, too, makes its keys numbers, in the order of the nodes.
            dict(document["links"]),
            document["name"],
            document["metadata"],
            document["created_on"],
            document["updated_on"],
            {int(fw_id): state for fw_id, state in document["fw_states"].items()},
        )

    def refresh(self, fw_id: int) -> None:
        """Let FireWorks carry a Firework's new launch state into the workflow (in memory).

        Raises ActionError for an FWAction that FireWorks cannot apply; then only `abandon` is left.
        """
        try:
            self._updated |= set(self.workflow.refresh(fw_id))
        except (PyMongoError, WorkflowMissingError):
            raise
        except Exception as exc:
            raise ActionError(traceback.format_exc()) from exc
        # At once: the next FWAction may come with the same negative ids, from another process.
        self._assign_new_ids()

    def resync(self) -> int:
        """Bring the workflow's copies of the states up to date, with all that follows (in memory).

        For a workflow whose changes a dead dispatcher had begun to write. How many copies were
        wrong. Raises like `refresh`.
        """
        found = self._launchpad.fireworks.find(
            {"fw_id": {"$in": list(self.fw_ids)}}, {"fw_id": 1, "state": 1}
        )
        copies = self.workflow.fw_states
        lagging = {fw["fw_id"]: fw["state"] for fw in found if copies[fw["fw_id"]] != fw["state"]}
        copies.update(lagging)
        for child in {child for fw_id in lagging for child in self.workflow.links[fw_id]}:
            self.refresh(child)
        return len(lagging)

    def commit(self) -> None:
        """Write what `refresh` changed and release the lock.

        Raises ActionError when MongoDB cannot hold it; then nothing is written, and only `abandon`
        is left.
        """
        try:
            self._write()
        except Exception as exc:  # BSON's errors have no root: too large, too big a number, ...
            if not refuses_document(exc):
                raise
            raise ActionError(traceback.format_exc()) from exc

    def _write(self) -> None:
        self._assign_new_ids()
        fireworks = [self.workflow.id_fw[fw_id].to_db_dict() for fw_id in sorted(self._updated)]
        document = self.workflow.to_db_dict()
        # A single Firework needs no journal: should we die before the workflow document is
        # written, `WorkflowStore.recover` finds the lock, and `resync` gives the same.
        if len(fireworks) <= 1:
            write_documents(self._launchpad, self._holder, self._id, fireworks, document)
            return
        entry = write_journal(self._launchpad, self._holder, self._id, fireworks, document)
        try:
            write_documents(self._launchpad, self._holder, self._id, fireworks, document)
        except WorkflowBusyError:
            clear_journal(self._launchpad, entry)
            raise
        clear_journal(self._launchpad, entry)

    def commit_states(self, states: Mapping[int, str]) -> None:
        """Record new states of Fireworks whose own documents are written already, and unlock.

        For READY, RESERVED, RUNNING and FIZZLED only: those never change a child.
        """
        self.workflow.fw_states.update(states)
        fields: dict[str, Any] = {f"fw_states.{fw_id}": state for fw_id, state in states.items()}
        fields["state"] = self._state()
        fields["updated_on"] = datetime.datetime.now(datetime.timezone.utc)
        result = self._launchpad.workflows.update_one(
            {"_id": self._id, "locked_by": self._holder.mark},
            {"$set": fields, "$unset": {"locked": "", "locked_by": "", SEAL: ""}},
        )
        if not result.matched_count:
            raise lock_lost(self._id)

    def _state(self) -> str:
        """The workflow's state; FireWorks reads the children of FIZZLED Fireworks for it."""
        try:
            return str(self.workflow.state)
        except PyMongoError:
            raise
        except Exception as exc:  # noqa: BLE001 - whatever loading a broken child raises
            log.debug("a Firework of workflow %s cannot be read: %r", self._id, exc)
            return "FIZZLED"

    def abandon(self) -> None:
        """Release the lock, write nothing."""
        self._launchpad.workflows.update_one(
            {"_id": self._id, "locked_by": self._holder.mark},
            {"$unset": {"locked": "", "locked_by": ""}},
        )

    def _assign_new_ids(self) -> None:
        """Give ids to what an FWAction added: until now it has negative ones."""
        new = sorted(fw_id for fw_id in self._updated if fw_id < 0)
        if not new:
            return
        first = self._launchpad.get_new_fw_id(quantity=len(new))
        ids = {old: first + position for position, old in enumerate(new)}
        for old, assigned in ids.items():
            self.workflow.id_fw[old].fw_id = assigned
        workflow = self.workflow
        workflow.id_fw = {ids.get(old, old): fw for old, fw in workflow.id_fw.items()}
        workflow.fw_states = {ids.get(old, old): s for old, s in workflow.fw_states.items()}
        workflow.links = StoredWorkflow.Links(
            {
                ids.get(parent, parent): [ids.get(child, child) for child in children]
                for parent, children in workflow.links.items()
            }
        )
        self._updated = {ids.get(old, old) for old in self._updated}


class WorkflowStore:
    """Locks workflows for one dispatcher. Not thread-safe."""

    def __init__(self, launchpad: Any, holder: Holder) -> None:
        """`holder` is this dispatcher, as its locks will name it."""
        self._launchpad = launchpad
        self._holder = holder
        self._busy = BusyWorkflows()
        self._copies = WorkflowCopies()

    def batch(self, fw_ids: Iterable[int], *, await_colleagues: bool = True) -> WorkflowBatch:
        """The workflows of these Fireworks, locked as far as nobody else keeps them locked."""
        batch = WorkflowBatch(self._launchpad, self._holder, self._copies, self._busy)
        batch.lock(fw_ids, await_colleagues=await_colleagues)
        return batch

    def leave(self) -> None:
        """There will be no more batches: leave the documents as FireWorks writes them."""
        self._launchpad.workflows.update_many(
            {"_id": {"$in": self._copies.workflow_ids}, SEAL: {"$exists": True}},
            {"$unset": {SEAL: ""}},
        )
        self._copies.clear()

    def take_over(self, document: dict[str, Any]) -> LockedWorkflow:
        """What a batch `release`d, for FireWorks to refresh."""
        return LockedWorkflow(self._launchpad, document, self._holder)

    def lock(self, fw_id: int) -> LockedWorkflow:
        """Lock the workflow of a Firework as FireWorks' commands do.

        Raises WorkflowBusyError when somebody else keeps it for longer than half a second (at once
        when that is known already), and WorkflowMissingError when there is none.
        """
        if self._busy.is_busy(fw_id):
            raise WorkflowBusyError(f"the workflow of Firework {fw_id} is locked")
        deadline = time.monotonic() + LOCK_WAIT_SECONDS
        while True:
            document = self._launchpad.workflows.find_one_and_update(
                {"nodes": fw_id, "locked": {"$exists": False}},
                {"$set": {"locked": True, "locked_by": self._holder.mark}},
            )
            if document is not None:
                self._busy.forget(document["_id"])
                return LockedWorkflow(self._launchpad, document, self._holder)
            found = self._launchpad.workflows.find_one({"nodes": fw_id}, {"nodes": 1})
            if found is None:
                raise WorkflowMissingError(f"Firework {fw_id} belongs to no workflow")
            if time.monotonic() > deadline or self._busy.was_busy(found["_id"]):
                self._busy.note(found["_id"], found["nodes"])
                raise WorkflowBusyError(f"the workflow of Firework {fw_id} is locked")
            # An lpad command holds the lock for milliseconds and has no way to tell us.
            time.sleep(LOCK_RETRY_SECONDS)

    @property
    def busy_fw_ids(self) -> set[int]:
        """Fireworks whose workflows somebody else had locked a moment ago."""
        return self._busy.fw_ids

    def note_busy(self, fw_ids: Iterable[int]) -> bool:
        """See which of these Fireworks' workflows somebody else keeps locked; whether any.

        Waits like `lock`, once for all of them.
        """
        query = {"nodes": {"$in": list(fw_ids)}, "locked": {"$exists": True}}
        deadline = time.monotonic() + LOCK_WAIT_SECONDS
        while True:
            locked = list(self._launchpad.workflows.find(query, {"nodes": 1}))
            is_known = all(self._busy.was_busy(document["_id"]) for document in locked)
            if is_known or time.monotonic() > deadline:
                break
            time.sleep(LOCK_RETRY_SECONDS)
        for document in locked:
            self._busy.note(document["_id"], document["nodes"])
        return bool(locked)

    def refresh(self, fw_id: int) -> None:
        """Lock, refresh, commit. Raises like `lock`, and ActionError (then it is unlocked)."""
        locked = self.lock(fw_id)
        try:
            locked.refresh(fw_id)
            locked.commit()
        except (ActionError, WorkflowMissingError):
            locked.abandon()
            raise

    def recover(self, living: Collection[str] | None = ()) -> int:
        """Finish or undo what this owner was interrupted at; how many workflows that were.

        What a lost connection to MongoDB cut off of our own, and what dead dispatchers left: all
        instances but those in `living`; None: nobody is known to be dead.
        """
        self._busy.clear()
        self._copies.clear()
        owner, mine = self._holder.owner, self._holder.mark
        others = {f"{owner}/{instance}" for instance in living or ()} - {mine}
        only_own = living is None
        repaired = recover_journal(self._launchpad, self._holder, others, only_own=only_own)
        marks = mine if only_own else {"$regex": f"^{re.escape(owner)}/"}
        found_locked = self._launchpad.workflows.find({"locked_by": marks}, {"locked_by": 1})
        left = [found for found in found_locked if found["locked_by"] not in others]
        for found in left:
            self._mend(take_lock(self._launchpad, found["_id"], found["locked_by"], self._holder))
        return repaired + len(left)

    def unlock_left(self, seconds: float) -> int:
        """Mend workflows that an lpad command has kept locked for so long; how many.

        Of those that this dispatcher has wanted all the time: nothing says since when a lock is
        there.
        """
        left = self._busy.locked_for(seconds)
        for workflow_id in left:
            if self.break_lock(workflow_id):
                log.warning(
                    "workflow %s was locked for %.0f s by an lpad command that must have been "
                    "killed: unlocked and brought up to date",
                    *(workflow_id, seconds),
                )
        return len(left)

    def break_lock(self, workflow_id: ObjectId, locked_by: str | None = None) -> bool:
        """Take a lock from whoever has it (None: FireWorks itself), bring the workflow up to date
        and unlock it; False when it is not locked by them any more.
        """
        where: dict[str, Any] = {"_id": workflow_id, "locked": {"$exists": True}}
        document = self._launchpad.workflows.find_one_and_update(
            {**where, "locked_by": locked_by}, {"$set": {"locked_by": self._holder.mark}}
        )
        self._mend(document)
        self._busy.forget(workflow_id)
        return document is not None

    def _mend(self, document: dict[str, Any] | None) -> None:
        """Bring a workflow whose lock was taken from somebody dead up to date, and unlock it."""
        if document is None:
            return
        locked = LockedWorkflow(self._launchpad, document, self._holder)
        try:
            locked.resync()
            locked.commit()
        except (ActionError, WorkflowMissingError) as exc:
            log.error("the workflow %r cannot be refreshed: %s", document["name"], exc)
            locked.abandon()
