"""Applies what executors report to the LaunchPad, each exactly once, in whatever order it comes.

A launch is fenced twice: an update of an older attempt is refused, and the step from an active
state to COMPLETED or FIZZLED is one guarded write that only the first can make. All that follows
from that step (the Firework, the workflow, children, additions) is FireWorks' own `refresh`, which
may be repeated: so an update that was interrupted half-way is simply delivered again.
"""

from __future__ import annotations

import datetime
import enum
import logging
from typing import Any

from dispatcher.launch_documents import (
    ACTIVE,
    NOTE,
    Claimant,
    attempt_of,
    finished_launch,
    fizzled_launch,
    job_id,
    started_launch,
    unstarted_history,
)
from dispatcher.stored_workflow import WorkflowStore
from dispatcher.workflow_errors import ActionError, WorkflowBusyError, WorkflowMissingError
from messaging.wire import Finished, LaunchUpdate, Ping, Released, Started

log = logging.getLogger(__name__)

#: States of a Firework that its launch's start turns into RUNNING, as in FireWorks' checkout.
_BEFORE_RUNNING = ["WAITING", "READY", "RESERVED", "FIZZLED"]


class Verdict(enum.Enum):
    """What became of an update."""

    APPLIED = "applied"
    #: Of an older attempt, or a repetition: dropped.
    STALE = "stale"
    #: Nobody waits for this attempt any more (its Firework was defused, rerun, paused, deleted or
    #: ended by somebody else, or a newer attempt is on its way): it should be stopped.
    UNWANTED = "unwanted"


class Updates:
    """Applies updates to one LaunchPad. Not thread-safe; raises pymongo's errors.

    A WorkflowBusyError means that the same update must be applied again later.
    """

    def __init__(self, launchpad: Any, store: WorkflowStore) -> None:
        self._launchpad = launchpad
        self._store = store
        #: Launches that ended here, with their state, whose workflows do not know it yet.
        self._ended: dict[int, str] = {}

    def start(self, update: Started) -> Verdict:
        """RESERVED → RUNNING, with host, ip and launch directory."""
        document = self._launch(update)
        if document is None or self._is_outdated(update, document):
            return Verdict.UNWANTED
        if not self._is_wanted(update.launch_id, [*_BEFORE_RUNNING, "RUNNING"]):
            return Verdict.UNWANTED
        if document["state"] == "RESERVED":
            running = started_launch(document, update)
        else:
            # Started a second time: the first executor is gone.
            place = {"host": update.host, "ip": update.ip, "launch_dir": update.launch_dir}
            running = {**document, **place}
        self._replace_active(update.launch_id, running)
        self._set_fireworks_state(update.launch_id, _BEFORE_RUNNING, "RUNNING")
        return Verdict.APPLIED

    def ping(self, update: Ping) -> Verdict:
        """The launch lives: time, checkpoint and trackers, as FireWorks' `ping_launch`."""
        document = self._launch(update)
        if document is None or self._is_outdated(update, document):
            return Verdict.UNWANTED
        if document["state"] == "RESERVED" and update.host:
            # Its start was lost.
            self.start(_start_of(update))
            document = self._launch(update) or document
        if document["state"] != "RUNNING":
            return Verdict.STALE
        entry = f"state_history.{len(document['state_history']) - 1}"
        now = datetime.datetime.fromtimestamp(update.timestamp, datetime.timezone.utc)
        fields: dict[str, Any] = {f"{entry}.updated_on": now.isoformat()}
        if update.checkpoint is not None:
            fields[f"{entry}.checkpoint"] = update.checkpoint
        if update.trackers is not None:
            fields["trackers"] = update.trackers
        if update.launch_dir is not None:
            fields["launch_dir"] = update.launch_dir
        self._launchpad.launches.update_one(
            {"launch_id": update.launch_id, "state": "RUNNING"}, {"$set": fields}
        )
        wanted = self._is_wanted(update.launch_id, list(ACTIVE))
        return Verdict.APPLIED if wanted else Verdict.UNWANTED

    def release(self, update: Released) -> Verdict:
        """RUNNING → RESERVED: given back, not failed; as if it had not been started."""
        document = self._launch(update)
        if document is None or update.attempt < attempt_of(document):
            return Verdict.STALE
        if document["state"] != "RUNNING":
            return Verdict.STALE
        self._launchpad.launches.update_one(
            {"launch_id": update.launch_id, "state": "RUNNING"},
            {
                "$set": {
                    "state": "RESERVED",
                    "state_history": unstarted_history(document),
                    "time_start": None,
                }
            },
        )
        self._set_fireworks_state(update.launch_id, ["RUNNING"], "RESERVED")
        return Verdict.APPLIED

    def finish(self, update: Finished) -> str | None:
        """The launch's end and all that FireWorks makes follow from it.

        The state in which it ended, once all is written; None when the update is stale, or when no
        Firework has the launch any more (it was rerun).
        """
        launch_id = update.launch_id
        document = self._launch(update)
        if document is None:
            return None
        if document["state"] in ACTIVE:
            if update.attempt < attempt_of(document):
                return None
            if self._replace_active(launch_id, finished_launch(document, update)):
                self._ended[launch_id] = update.state
        elif launch_id not in self._ended and not self._is_wanted(launch_id, list(ACTIVE)):
            return None
        # Also when it had ended before: the one who ended it may have died before this.
        found = self._refresh_fireworks(launch_id)
        state = self._ended.pop(launch_id, None)
        return state if found else None

    def settle_ended(self, claimant: Claimant) -> int:
        """Refresh Fireworks of which we ended a launch and then died; how many launches.

        Nobody else would: the update may be lost, and the launch is not active any more.
        """
        running = self._launchpad.fireworks.find({"state": {"$in": list(ACTIVE)}}, {"launches": 1})
        launch_ids = [launch_id for firework in running for launch_id in firework["launches"]]
        query = {
            "launch_id": {"$in": launch_ids},
            "state": {"$in": ["COMPLETED", "FIZZLED"]},
            f"state_history.{NOTE}.prefix": claimant.prefix,
            f"state_history.{NOTE}.pool": claimant.pool,
        }
        ended = [launch["launch_id"] for launch in self._launchpad.launches.find(query)]
        for launch_id in ended:
            self._refresh_fireworks(launch_id)
        return len(ended)

    def _launch(self, update: LaunchUpdate) -> dict[str, Any] | None:
        """The launch that an update is about; None also when the id is another launch's by now."""
        found: dict[str, Any] | None = self._launchpad.launches.find_one(
            {"launch_id": update.launch_id}, {"_id": 0}
        )
        return found if found is not None and job_id(found) == update.job else None

    @staticmethod
    def _is_outdated(update: LaunchUpdate, document: dict[str, Any]) -> bool:
        """Whether the attempt that speaks can achieve nothing any more."""
        return update.attempt < attempt_of(document) or document["state"] not in ACTIVE

    def _is_wanted(self, launch_id: int, states: list[str]) -> bool:
        query = {"launches": launch_id, "state": {"$in": states}}
        return self._launchpad.fireworks.find_one(query, {"_id": 1}) is not None

    def _replace_active(self, launch_id: int, document: dict[str, Any]) -> bool:
        """Write the document if the launch is still active: only one can end it."""
        result = self._launchpad.launches.replace_one(
            {"launch_id": launch_id, "state": {"$in": list(ACTIVE)}}, document
        )
        return bool(result.matched_count)

    def _set_fireworks_state(self, launch_id: int, before: list[str], state: str) -> None:
        """Move the Fireworks that share a launch (duplicates do) to RUNNING or RESERVED."""
        fireworks = list(
            self._launchpad.fireworks.find({"launches": launch_id}, {"fw_id": 1, "state": 1})
        )
        for firework in fireworks:
            if firework["state"] not in before:
                continue
            self._launchpad.fireworks.update_one(
                {"fw_id": firework["fw_id"], "state": {"$in": before}},
                {"$set": {"state": state, "updated_on": _now()}},
            )
            try:
                self._store.lock(firework["fw_id"]).commit_states({firework["fw_id"]: state})
            except (WorkflowBusyError, WorkflowMissingError) as exc:
                # The workflow's copy of a state on the way is for display; the end sets it right.
                log.debug("%s", exc)

    def _refresh_fireworks(self, launch_id: int) -> bool:
        """Carry the launch's state into its Fireworks and their workflows; whether it has any."""
        found = list(self._launchpad.fireworks.find({"launches": launch_id}, {"fw_id": 1}))
        for firework in found:
            try:
                self._store.refresh(firework["fw_id"])
            except WorkflowMissingError as exc:
                log.warning("%s", exc)
            except ActionError as exc:
                self._fizzle(launch_id, firework["fw_id"], str(exc))
        return bool(found)

    def _fizzle(self, launch_id: int, fw_id: int, stacktrace: str) -> None:
        """The FWAction could not be applied: discard it, as FireWorks' Rocket does."""
        document = self._launchpad.launches.find_one({"launch_id": launch_id}, {"_id": 0})
        if document is not None and document["state"] == "COMPLETED":
            log.warning("the FWAction of Firework %d cannot be applied; it is FIZZLED", fw_id)
            self._launchpad.launches.replace_one(
                {"launch_id": launch_id}, fizzled_launch(document, stacktrace)
            )
            if launch_id in self._ended:
                self._ended[launch_id] = "FIZZLED"
            try:
                self._store.refresh(fw_id)
            except WorkflowMissingError as exc:
                log.warning("%s", exc)
            except ActionError as exc:
                stacktrace = str(exc)
            else:
                return
        self._fizzle_alone(fw_id, stacktrace)

    def _fizzle_alone(self, fw_id: int, stacktrace: str) -> None:
        """FireWorks cannot refresh the workflow whatever the launch's state: the Firework ends."""
        last_line = stacktrace.strip().splitlines()[-1]
        log.error("the workflow of Firework %d cannot be refreshed: %s", fw_id, last_line)
        self._launchpad.fireworks.update_one(
            {"fw_id": fw_id, "state": {"$in": list(ACTIVE)}},
            {"$set": {"state": "FIZZLED", "updated_on": _now()}},
        )
        if self._launchpad.fireworks.find_one({"fw_id": fw_id, "state": "FIZZLED"}) is None:
            return
        try:
            # Also when an earlier try came only so far, because the workflow was busy.
            self._store.lock(fw_id).commit_states({fw_id: "FIZZLED"})
        except WorkflowMissingError as exc:
            log.debug("%s", exc)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc)


def _start_of(update: Ping) -> Started:
    return Started(
        job=update.job,
        attempt=update.attempt,
        launch_id=update.launch_id,
        executor=update.executor,
        timestamp=update.timestamp,
        host=update.host,
        ip=update.ip,
        launch_dir=update.launch_dir or "",
    )
