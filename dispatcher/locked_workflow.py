"""One workflow in the LaunchPad's database while we hold its lock: loaded, refreshed, written.

What happens to a workflow is decided by FireWorks' `Workflow.refresh`; this module only loads what
it asks for (without the user's classes, see `opaque`) and writes what it changed. The write of the
workflow document is also what unlocks it. A change of several documents goes through a journal: so
`mod_spec`'s pushes and increments never happen twice, and no addition is left outside its workflow.
"""

from __future__ import annotations

import logging
import traceback
from typing import Any

from bson import ObjectId
from pymongo.errors import PyMongoError

from dispatcher.journal import (
    Holder,
    clear_journal,
    write_documents,
    write_journal,
)
from dispatcher.launch_documents import now_as_text
from dispatcher.launchpad import refuses_document
from dispatcher.stored_firework import Links, StoredFirework, StoredWorkflow
from dispatcher.workflow_errors import ActionError, WorkflowBusyError, WorkflowMissingError

log = logging.getLogger(__name__)


class LockedWorkflow:
    """One workflow while we hold its lock. Ends with either `commit` or `abandon`. Not thread-safe.

    `commit` raises WorkflowBusyError when the lock was taken from us.
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
        # FireWorks says so only when it looked at the state; `write_documents` relies on it.
        now = {"updated_on": now_as_text()}
        fireworks = [
            {**self.workflow.id_fw[fw_id].to_db_dict(), **now} for fw_id in sorted(self._updated)
        ]
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
        workflow.links = Links(
            {
                ids.get(parent, parent): [ids.get(child, child) for child in children]
                for parent, children in workflow.links.items()
            }
        )
        self._updated = {ids.get(old, old) for old in self._updated}
