"""Finds what processes that died have left in a LaunchPad, and mends it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dispatcher.journal import Holder
from dispatcher.launch_documents import NOTE, note_of
from dispatcher.status import Colleagues
from dispatcher.stored_workflow import WorkflowStore
from dispatcher.workflow_errors import ActionError, WorkflowBusyError, WorkflowMissingError

#: Seconds between two looks at a lock.
_LOOK_SECONDS = 0.2
#: States of workflows in which nothing moves any more.
_OVER = ("COMPLETED", "ARCHIVED")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that is wrong, or was."""

    what: str
    #: What was done about it; empty when nothing was.
    done: str = ""


class Repair:
    """One look through a LaunchPad. Raises pymongo's errors. Not thread-safe.

    May run beside dispatchers and lpad commands: what they have in hand is left alone.
    """

    def __init__(self, launchpad: Any, *, after: float, force: bool, dry_run: bool) -> None:
        """Locks of FireWorks' own are broken when they stood for `after` seconds, or at once with
        `force`; with `dry_run` nothing is written.
        """
        self._launchpad = launchpad
        self._after = 0.0 if force else after
        self._dry_run = dry_run
        holder = Holder("portfire/repair", uuid.uuid4().hex)
        self._store = WorkflowStore(launchpad, holder)

    def run(self) -> Iterator[Finding]:
        """Everything that is found, as it is found and mended."""
        yield from self._locks_of_dead_dispatchers()
        yield from self._locks_of_others()
        yield from self._unpublished()
        yield from self._lagging()

    def _locks_of_dead_dispatchers(self) -> Iterator[Finding]:
        query = {"locked_by": {"$exists": True}}
        living = Colleagues(self._launchpad).living()
        dead = {
            document["_id"]: document
            for document in self._launchpad.workflows.find(query, {"nodes": 1, "locked_by": 1})
            if document["locked_by"] not in living
        }
        owners = {document["locked_by"].rpartition("/")[0] for document in dead.values()}
        done = "" if self._dry_run else "finished or undone, and unlocked"
        for owner in sorted(owners):
            if not self._dry_run:
                instances = [mark.rpartition("/")[2] for mark in living if mark.startswith(owner)]
                store = WorkflowStore(self._launchpad, Holder(owner, uuid.uuid4().hex))
                store.recover(instances)
        for document in dead.values():
            yield Finding(what=f"{_name(document)} is locked by a dead dispatcher", done=done)

    def _locks_of_others(self) -> Iterator[Finding]:
        for document in self._standing_locks():
            broken = not self._dry_run and self._store.break_lock(document["_id"])
            yield Finding(
                what=f"{_name(document)} is locked by an lpad command or a worker of FireWorks'"
                + (f", for {self._after:g} s at least" if self._after else ""),
                done="brought up to date and unlocked" if broken else "",
            )

    def _standing_locks(self) -> list[dict[str, Any]]:
        """Workflows that FireWorks itself keeps locked all the time that we look."""
        query: dict[str, Any] = {"locked": {"$exists": True}, "locked_by": {"$exists": False}}
        locked = list(self._launchpad.workflows.find(query, {"nodes": 1}))
        deadline = time.monotonic() + self._after
        while locked and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)
            query["_id"] = {"$in": [document["_id"] for document in locked]}
            locked = list(self._launchpad.workflows.find(query, {"nodes": 1}))
        return locked

    def _unpublished(self) -> Iterator[Finding]:
        """Claims that no dispatcher will publish, since none lives."""
        living = {mark.rpartition("/")[0] for mark in Colleagues(self._launchpad).living()}
        query = {
            "state": "RESERVED",
            f"state_history.{NOTE}": {"$exists": True},
            "state_history.reservation_id": {"$exists": False},
        }
        for launch in list(self._launchpad.launches.find(query)):
            note, launch_id = note_of(launch), launch["launch_id"]
            if f"portfire/{note['prefix']}/{note['pool']}" in living:
                continue
            has_firework = self._launchpad.fireworks.find_one({"launches": launch_id}) is not None
            if not self._dry_run:
                self._give_up(launch_id, has_firework)
            yield Finding(
                what=f"Firework {launch['fw_id']} was claimed and never published; no dispatcher "
                f"of pool {note['pool']} lives",
                done="" if self._dry_run else "READY again",
            )

    def _give_up(self, launch_id: int, has_firework: bool) -> None:
        if has_firework:
            self._launchpad.cancel_reservation(launch_id)
        else:
            stray = {"launch_id": launch_id, "state": "RESERVED", "action": None}
            self._launchpad.launches.delete_one(stray)

    def _lagging(self) -> Iterator[Finding]:
        """Workflows whose copies of their Fireworks' states are wrong."""
        query = {"state": {"$nin": list(_OVER)}, "locked": {"$exists": False}}
        for document in self._launchpad.workflows.find(query, {"nodes": 1, "fw_states": 1}):
            if not self._is_lagging(document):
                continue
            done = "" if self._dry_run else self._resync(document["nodes"][0])
            if done is not None:
                yield Finding(what=f"{_name(document)} has wrong copies of its states", done=done)

    def _is_lagging(self, document: dict[str, Any]) -> bool:
        query = {"fw_id": {"$in": document["nodes"]}}
        found = self._launchpad.fireworks.find(query, {"fw_id": 1, "state": 1})
        copies = document["fw_states"]
        return any(copies.get(str(each["fw_id"])) != each["state"] for each in found)

    def _resync(self, fw_id: int) -> str | None:
        """Bring it up to date; None when that was not necessary after all."""
        try:
            locked = self._store.lock(fw_id)
        except (WorkflowBusyError, WorkflowMissingError):
            return None  # somebody is at work on it
        try:
            lagging = locked.resync()
            locked.commit()
        except (ActionError, WorkflowMissingError) as exc:
            locked.abandon()
            return f"cannot be mended: {str(exc).strip().splitlines()[-1]}"
        return f"{lagging} put right" if lagging else None


def _name(document: dict[str, Any]) -> str:
    return f"the workflow of Firework {min(document['nodes'])}"
