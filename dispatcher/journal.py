"""The journal: several documents written as if at once.

First all new documents are written to a collection of our own, then a commit mark, then they
replace the old ones. Whoever comes after a dead dispatcher carries out an entry with its mark and
throws away one without.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bson import ObjectId

from dispatcher.bulk import Write, write_all
from dispatcher.workflow_errors import WorkflowBusyError

log = logging.getLogger(__name__)

JOURNAL = "portfire_journal"

#: What FireWorks changes of a Firework whenever it changes its state, and we with every write.
_VERSION = ("state", "updated_on")


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lock: the owner (prefix and pool), and which of its dispatchers."""

    owner: str
    instance: str

    @property
    def mark(self) -> str:
        """What stands in a locked workflow's ``locked_by``."""
        return f"{self.owner}/{self.instance}"


def take_lock(launchpad: Any, workflow_id: ObjectId, mark: str, holder: Holder) -> Any:
    """Make `mark`'s lock `holder`'s own; the workflow's document, or None when it has it no more.

    From then on nothing that the other one still writes can reach the workflow.
    """
    return launchpad.workflows.find_one_and_update(
        {"_id": workflow_id, "locked_by": mark}, {"$set": {"locked_by": holder.mark}}
    )


def lock_lost(workflow_id: ObjectId) -> WorkflowBusyError:
    """The error for a lock that was taken from us (`lpad admin unlock`, or a successor)."""
    return WorkflowBusyError(f"the lock of workflow {workflow_id} was taken away")


def write_journal(
    launchpad: Any,
    holder: Holder,
    workflow_id: ObjectId,
    fireworks: list[dict[str, Any]],
    document: dict[str, Any],
) -> ObjectId:
    """Write down what is going to be written; returns the journal entry's id.

    One journal document for each changed document, since a document is limited to 16 MB; the
    commit mark is the last of them.
    """
    entry = ObjectId()
    about = {"entry": entry, "owner": holder.owner, "by": holder.mark}
    rows: list[dict[str, Any]] = [{**about, "firework": fw} for fw in fireworks]
    mark = {"commit": True, "holders": [holder.mark], "workflow_id": workflow_id}
    rows.append({**about, **mark, "workflow": document})
    launchpad.db[JOURNAL].insert_many(rows, ordered=True)
    return entry


def clear_journal(launchpad: Any, entry: ObjectId) -> None:
    """Forget an entry that has been carried out: first its mark, so that it is void at once."""
    launchpad.db[JOURNAL].delete_one({"entry": entry, "commit": True})
    launchpad.db[JOURNAL].delete_many({"entry": entry})


def write_documents(
    launchpad: Any,
    holder: Holder,
    workflow_id: ObjectId,
    fireworks: list[dict[str, Any]],
    document: dict[str, Any],
) -> None:
    """Replace the Fireworks, then the workflow, which unlocks it: the new one has no lock.

    Every document must have an ``updated_on`` of its own. May be repeated: what is written already
    is left alone. One that is stopped in here, and wakes when others have taken its lock and gone
    on, changes nothing: each Firework is replaced only as long as it is what it was while the lock
    was known to be `holder`'s. Raises WorkflowBusyError when it is not any more.
    """
    locked = {"_id": workflow_id, "locked_by": holder.mark}
    while True:
        stored = _versions(launchpad, fireworks)
        # In this order: what was read had not been written by a successor.
        if launchpad.workflows.find_one(locked, {"_id": 1}) is None:
            raise lock_lost(workflow_id)
        writes = [
            _guarded(firework, stored.get(firework["fw_id"]))
            for firework in fireworks
            if stored.get(firework["fw_id"]) != _version(firework)
        ]
        if write_all(launchpad.fireworks, writes) == len(writes):
            break
        # Our lock is gone, or somebody (lpad's pause) changed a Firework without asking for it.
    if not launchpad.workflows.replace_one(locked, document).matched_count:
        raise lock_lost(workflow_id)


def _versions(launchpad: Any, fireworks: Sequence[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """By Firework: by what it is known whether it has been changed, as stored now."""
    found = launchpad.fireworks.find(
        {"fw_id": {"$in": [firework["fw_id"] for firework in fireworks]}},
        {"_id": 0, "fw_id": 1, **dict.fromkeys(_VERSION, 1)},
    )
    return {firework["fw_id"]: _version(firework) for firework in found}


def _version(firework: Mapping[str, Any]) -> dict[str, Any]:
    return {field: firework.get(field) for field in _VERSION}


def _guarded(firework: dict[str, Any], stored: Mapping[str, Any] | None) -> Write:
    """Replaces a Firework that is as it was `stored`, or inserts one that is not there."""
    where = {"fw_id": firework["fw_id"]}
    if stored is None:
        return Write(where, {"$setOnInsert": firework}, upsert=True)
    return Write({**where, **stored}, firework)


def recover_journal(
    launchpad: Any, holder: Holder, others: Collection[str] = (), *, only_own: bool = False
) -> int:
    """Carry out the owner's complete entries, drop its others; how many were carried out.

    `others` are the marks of dispatchers of the same owner that live: theirs are left alone, as are
    all but `holder`'s with `only_own`.

    An entry whose workflow is not locked by those who had the entry in hand was carried out to its
    end, since the unlocking is its last write; doing it again would undo what others wrote since.
    """
    journal = launchpad.db[JOURNAL]
    repaired = 0
    by = holder.mark if only_own else {"$nin": list(others)}
    left = {"owner": holder.owner, "by": by}
    theirs = []
    for mark in list(journal.find({"commit": True, **left})):
        if not set(mark["holders"]).isdisjoint(others):
            theirs.append(mark["entry"])  # one of them is carrying it out
            continue
        workflow = launchpad.workflows.find_one({"_id": mark["workflow_id"]}, {"locked_by": 1})
        if workflow is not None and workflow.get("locked_by") in mark["holders"]:
            _carry_out(launchpad, holder, mark, workflow["locked_by"])
            repaired += 1
        clear_journal(launchpad, mark["entry"])
    journal.delete_many({**left, "entry": {"$nin": theirs}})
    return repaired


def _carry_out(launchpad: Any, holder: Holder, mark: dict[str, Any], locked_by: str) -> None:
    journal = launchpad.db[JOURNAL]
    # Before the lock changes hands: should we die in between, the next one must find it so.
    journal.update_one({"_id": mark["_id"]}, {"$addToSet": {"holders": holder.mark}})
    if take_lock(launchpad, mark["workflow_id"], locked_by, holder) is None:
        return
    rows = journal.find({"entry": mark["entry"], "firework": {"$exists": True}})
    fireworks = [row["firework"] for row in rows]
    write_documents(launchpad, holder, mark["workflow_id"], fireworks, mark["workflow"])
    log.warning("finished an interrupted update of workflow %s", mark["workflow_id"])
