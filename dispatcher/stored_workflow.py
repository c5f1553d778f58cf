"""A workflow in the LaunchPad's database, locked, refreshed by FireWorks' own rules, and written.

What happens to a workflow is decided by FireWorks' `Workflow.refresh`; this module only loads what
it asks for (without the user's classes, see `opaque`) and writes what it changed. Two things are
done differently from FireWorks, both so that a killed dispatcher leaves no damage:

* The lock names its owner (``locked_by`` beside FireWorks' ``locked``), and the write of the
  workflow document is also what unlocks it. A lock left by a dead dispatcher can be told from one
  that an ``lpad`` command holds right now.
* A change of several documents goes through a journal: first all new documents are written there,
  then a commit mark, then they replace the old ones. At the next start a journal with its mark is
  carried out again, one without is thrown away; so `mod_spec`'s pushes and increments never happen
  twice, and no addition is left outside its workflow.
"""

from __future__ import annotations

import datetime
import logging
import time
import traceback
from collections.abc import Mapping
from typing import Any

from bson import ObjectId
from fireworks import Firework, Workflow
from fireworks.core.launchpad import get_action_from_gridfs
from pymongo.errors import PyMongoError

from dispatcher.journal import clear_journal, recover_journal, write_documents, write_journal
from dispatcher.launchpad import refuses_document
from dispatcher.opaque import opaque
from messaging.errors import JobError, PortfireError

log = logging.getLogger(__name__)

#: How long to wait for a workflow that somebody else (an lpad command) has locked, in seconds.
_LOCK_WAIT_SECONDS = 0.5
_LOCK_RETRY_SECONDS = 0.02


class WorkflowBusyError(PortfireError):
    """Somebody else holds the workflow's lock: try again later."""


class WorkflowMissingError(PortfireError):
    """A Firework belongs to no workflow (deleted meanwhile, or half of an interrupted add)."""


class ActionError(JobError):
    """FireWorks cannot apply what a task returned; the text is the stack trace."""


class StoredFirework:
    """A Firework that is read from the database when FireWorks first asks for its contents.

    Has what `Workflow` uses of a Firework. Not thread-safe.
    """

    parents: list[Any] = []

    def __init__(self, fw_id: int, launchpad: Any) -> None:
        self.fw_id = fw_id
        self._launchpad = launchpad
        self._firework: Any = None

    @property
    def firework(self) -> Any:
        """FireWorks' own object, with launches; its tasks are `Opaque`."""
        if self._firework is None:
            self._firework = self._load()
        return self._firework

    @property
    def state(self) -> str:
        """State by the Firework's own document (the workflow's copy may lag)."""
        return str(self.firework.state)

    @state.setter
    def state(self, state: str) -> None:
        self.firework.state = state

    @property
    def spec(self) -> dict[str, Any]:
        """The spec, for reading and changing."""
        spec: dict[str, Any] = self.firework.spec
        return spec

    @property
    def name(self) -> str:
        """Name of the Firework."""
        return str(self.firework.name)

    @property
    def launches(self) -> list[Any]:
        """FireWorks' Launch objects."""
        return list(self.firework.launches)

    def to_dict(self) -> dict[str, Any]:
        """Serialised with its launches."""
        serialised: dict[str, Any] = self.firework.to_dict()
        return serialised

    def to_db_dict(self) -> dict[str, Any]:
        """Serialised as the fireworks collection holds it."""
        serialised: dict[str, Any] = self.firework.to_db_dict()
        return serialised

    def _load(self) -> Any:
        document = self._launchpad.fireworks.find_one({"fw_id": self.fw_id}, {"_id": 0})
        if document is None:
            raise WorkflowMissingError(f"Firework {self.fw_id} is gone from the LaunchPad")
        for field in ("launches", "archived_launches"):
            document[field] = self._launch_documents(document.get(field, []))
        return Firework.from_dict(opaque(document))

    def _launch_documents(self, launch_ids: list[int]) -> list[dict[str, Any]]:
        if not launch_ids:
            return []
        found = self._launchpad.launches.find({"launch_id": {"$in": launch_ids}}, {"_id": 0})
        documents = []
        for launch in found:
            stored = launch.get("action")
            launch["action"] = get_action_from_gridfs(stored, self._launchpad.gridfs_fallback)
            documents.append(launch)
        return sorted(documents, key=lambda launch: int(launch["launch_id"]))


class LockedWorkflow:
    """One workflow while we hold its lock. Ends with exactly one of the three: `commit`,
    `commit_states` or `abandon`. Not thread-safe.
    """

    def __init__(self, launchpad: Any, document: dict[str, Any], owner: str) -> None:
        self._launchpad = launchpad
        self._id: ObjectId = document["_id"]
        self._owner = owner
        self.fw_ids: frozenset[int] = frozenset(document["nodes"])
        self._updated: set[int] = set()
        self.workflow = Workflow(
            [StoredFirework(fw_id, launchpad) for fw_id in document["nodes"]],
            {int(parent): children for parent, children in document["links"].items()},
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

    def resync(self) -> None:
        """Bring the workflow's copies of the states up to date, with all that follows (in memory).

        For a workflow whose changes a dead dispatcher had begun to write. Raises like `refresh`.
        """
        found = self._launchpad.fireworks.find(
            {"fw_id": {"$in": list(self.fw_ids)}}, {"fw_id": 1, "state": 1}
        )
        copies = self.workflow.fw_states
        lagging = {fw["fw_id"]: fw["state"] for fw in found if copies[fw["fw_id"]] != fw["state"]}
        copies.update(lagging)
        for child in {child for fw_id in lagging for child in self.workflow.links[fw_id]}:
            self.refresh(child)

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
        if len(fireworks) > 1:
            entry = write_journal(self._launchpad, self._owner, self._id, fireworks, document)
            write_documents(self._launchpad, self._id, fireworks, document)
            clear_journal(self._launchpad, entry)
        else:
            write_documents(self._launchpad, self._id, fireworks, document)

    def commit_states(self, states: Mapping[int, str]) -> None:
        """Record new states of Fireworks whose own documents are written already, and unlock.

        For READY, RESERVED and RUNNING only: those never change a child.
        """
        self.workflow.fw_states.update(states)
        fields: dict[str, Any] = {f"fw_states.{fw_id}": state for fw_id, state in states.items()}
        fields["state"] = self.workflow.state
        fields["updated_on"] = datetime.datetime.now(datetime.timezone.utc)
        self._launchpad.workflows.update_one(
            {"_id": self._id}, {"$set": fields, "$unset": {"locked": "", "locked_by": ""}}
        )

    def abandon(self) -> None:
        """Release the lock, write nothing."""
        self._launchpad.workflows.update_one(
            {"_id": self._id, "locked_by": self._owner},
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
        workflow.links = Workflow.Links(
            {
                ids.get(parent, parent): [ids.get(child, child) for child in children]
                for parent, children in workflow.links.items()
            }
        )
        self._updated = {ids.get(old, old) for old in self._updated}


class WorkflowStore:
    """Locks workflows for one dispatcher. Not thread-safe."""

    def __init__(self, launchpad: Any, owner: str) -> None:
        """`owner` names this dispatcher in the locks that it holds."""
        self._launchpad = launchpad
        self._owner = owner

    def lock(self, fw_id: int) -> LockedWorkflow:
        """Lock the workflow of a Firework as FireWorks' commands do.

        Raises WorkflowBusyError when somebody else keeps it for longer than half a second, and
        WorkflowMissingError when there is none.
        """
        deadline = time.monotonic() + _LOCK_WAIT_SECONDS
        while True:
            document = self._launchpad.workflows.find_one_and_update(
                {"nodes": fw_id, "locked": {"$exists": False}},
                {"$set": {"locked": True, "locked_by": self._owner}},
            )
            if document is not None:
                return LockedWorkflow(self._launchpad, document, self._owner)
            if self._launchpad.workflows.find_one({"nodes": fw_id}, {"_id": 1}) is None:
                raise WorkflowMissingError(f"Firework {fw_id} belongs to no workflow")
            if time.monotonic() > deadline:
                raise WorkflowBusyError(f"the workflow of Firework {fw_id} is locked")
            # An lpad command holds the lock for milliseconds and has no way to tell us.
            time.sleep(_LOCK_RETRY_SECONDS)

    def refresh(self, fw_id: int) -> None:
        """Lock, refresh, commit. Raises like `lock`, and ActionError (then it is unlocked)."""
        locked = self.lock(fw_id)
        try:
            locked.refresh(fw_id)
            locked.commit()
        except (ActionError, WorkflowMissingError):
            locked.abandon()
            raise

    def recover(self) -> int:
        """Finish or undo what this owner was interrupted at; how many workflows that were.

        At a start: what a dead dispatcher left. Later: what a lost connection to MongoDB cut off.
        """
        repaired = recover_journal(self._launchpad, self._owner)
        left = list(self._launchpad.workflows.find({"locked_by": self._owner}))
        for document in left:
            locked = LockedWorkflow(self._launchpad, document, self._owner)
            try:
                locked.resync()
                locked.commit()
            except (ActionError, WorkflowMissingError) as exc:
                log.error("the workflow %r cannot be refreshed: %s", document["name"], exc)
                locked.abandon()
        return repaired + len(left)
