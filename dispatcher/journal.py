"""The journal: several documents written as if at once.

First all new documents are written to a collection of our own, then a commit mark, then they
replace the old ones. Whoever comes after a dead dispatcher carries out an entry with its mark and
throws away one without.
"""

from __future__ import annotations

import logging
from typing import Any

from bson import ObjectId
from pymongo import ReplaceOne

from dispatcher.launchpad import is_embedded

log = logging.getLogger(__name__)

JOURNAL = "portfire_journal"


def write_journal(
    launchpad: Any,
    owner: str,
    workflow_id: ObjectId,
    fireworks: list[dict[str, Any]],
    document: dict[str, Any],
) -> ObjectId:
    """Write down what is going to be written; returns the journal entry's id.

    One journal document for each changed document, since a document is limited to 16 MB; the
    commit mark is the last of them.
    """
    entry = ObjectId()
    about = {"entry": entry, "owner": owner}
    rows: list[dict[str, Any]] = [{**about, "firework": fw} for fw in fireworks]
    rows.append({**about, "commit": True, "workflow_id": workflow_id, "workflow": document})
    launchpad.db[JOURNAL].insert_many(rows, ordered=True)
    return entry


def clear_journal(launchpad: Any, entry: ObjectId) -> None:
    """Forget an entry that has been carried out: first its mark, so that it is void at once."""
    launchpad.db[JOURNAL].delete_one({"entry": entry, "commit": True})
    launchpad.db[JOURNAL].delete_many({"entry": entry})


def write_documents(
    launchpad: Any, workflow_id: ObjectId, fireworks: list[dict[str, Any]], document: dict[str, Any]
) -> None:
    """Replace the Fireworks, then the workflow, which unlocks it: the new one has no lock."""
    if len(fireworks) > 1 and not is_embedded(launchpad):
        launchpad.fireworks.bulk_write(
            [ReplaceOne({"fw_id": fw["fw_id"]}, fw, upsert=True) for fw in fireworks],
            ordered=False,
        )
    else:
        # mongomock 4.3 does not take the bulk operations of today's pymongo.
        for fw in fireworks:
            launchpad.fireworks.replace_one({"fw_id": fw["fw_id"]}, fw, upsert=True)
    launchpad.workflows.replace_one({"_id": workflow_id}, document)


def recover_journal(launchpad: Any, owner: str) -> int:
    """Carry out `owner`'s complete entries, drop its others; how many were carried out.

    An entry whose workflow `owner` has no longer locked was carried out to its end, since the
    unlocking is its last write; doing it again would undo what others wrote since.
    """
    journal = launchpad.db[JOURNAL]
    repaired = 0
    for mark in list(journal.find({"commit": True, "owner": owner})):
        workflow = launchpad.workflows.find_one({"_id": mark["workflow_id"]}, {"locked_by": 1})
        if workflow is not None and workflow.get("locked_by") == owner:
            rows = journal.find({"entry": mark["entry"], "firework": {"$exists": True}})
            fireworks = [row["firework"] for row in rows]
            write_documents(launchpad, mark["workflow_id"], fireworks, mark["workflow"])
            log.warning("finished an interrupted update of workflow %s", mark["workflow_id"])
            repaired += 1
        clear_journal(launchpad, mark["entry"])
    journal.delete_many({"owner": owner})
    return repaired
