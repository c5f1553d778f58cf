"""The workflows in the LaunchPad's database, as one dispatcher locks and recovers them.

Two things are done differently from FireWorks, both so that a killed dispatcher leaves no damage:

* The lock names its holder (``locked_by`` beside FireWorks' ``locked``: owner and instance). A lock
  left by a dead dispatcher can be told from one that an ``lpad`` command holds right now; and one
  that was believed dead and has been succeeded cannot write, since its successor took its locks.
* A change of several documents goes through a journal (see `journal`): at the next start one with
  its mark is carried out again, one without is thrown away.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from bson import ObjectId

from dispatcher.journal import Holder, recover_journal, take_lock
from dispatcher.locked_workflow import LockedWorkflow
from dispatcher.set_aside import BusyWorkflows
from dispatcher.workflow_batch import LOCK_RETRY_SECONDS, LOCK_WAIT_SECONDS, WorkflowBatch
from dispatcher.workflow_copies import WorkflowCopies
from dispatcher.workflow_copy import SEAL
from dispatcher.workflow_errors import ActionError, WorkflowBusyError, WorkflowMissingError

log = logging.getLogger(__name__)

#: States that, reached, make no child READY.
_CHANGE_NO_CHILD = frozenset({"READY", "RESERVED", "RUNNING", "FIZZLED"})


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

    def record(self, fw_ids: Sequence[int]) -> set[int]:
        """Let the workflows of Fireworks know the states that these have by now; those whose
        workflow somebody else keeps locked.

        For states that change no child: READY, RESERVED, RUNNING and FIZZLED.
        """
        batch = self.batch(fw_ids)
        # Read under the lock: another dispatcher may have ended one that was RUNNING a moment ago.
        found = self._launchpad.fireworks.find(
            {"fw_id": {"$in": list(fw_ids)}}, {"fw_id": 1, "state": 1}
        )
        for firework in found:
            copy = batch.of(firework["fw_id"])
            if copy is not None and firework["state"] in _CHANGE_NO_CHILD:
                copy.set_state(firework["fw_id"], firework["state"])
        return batch.busy | batch.commit()

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
