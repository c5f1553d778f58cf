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
from collections.abc import Mapping, Sequence
from typing import Any

from dispatcher.bulk import Write, write_all
from dispatcher.launch_documents import (
    ACTIVE,
    NOTE,
    Claimant,
    attempt_of,
    finished_launch,
    job_id,
    now_as_text,
    started_launch,
    unstarted_history,
)
from dispatcher.refresh import OnReady, Refreshed, Refresher, leave_to_claim
from dispatcher.stored_workflow import WorkflowStore
from dispatcher.workflow_errors import WorkflowBusyError
from messaging.wire import Finished, LaunchUpdate, Ping, Released, Started

log = logging.getLogger(__name__)

#: States of a Firework that its launch's start turns into RUNNING. In FireWorks' checkout also
#: FIZZLED: but here another dispatcher may just have ended it.
_BEFORE_RUNNING = ["WAITING", "READY", "RESERVED"]


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

    def __init__(
        self, launchpad: Any, store: WorkflowStore, on_ready: OnReady = leave_to_claim
    ) -> None:
        """`on_ready` is as of the Refresher."""
        self._launchpad = launchpad
        self._store = store
        self._refresher = Refresher(launchpad, store, on_ready)
        #: Launches that ended here, with their state, whose workflows do not know it yet.
        self._ended: dict[int, str] = {}

    def start(self, update: Started) -> Verdict:
        """One launch's start; see `start_all`."""
        [verdict] = self.start_all([update])
        return verdict

    def start_all(self, updates: Sequence[Started]) -> list[Verdict]:
        """RESERVED → RUNNING, with host, ip and launch directory."""
        documents = self._launches(updates)
        wanted = self._wanted(list(documents), [*_BEFORE_RUNNING, "RUNNING"])
        running: dict[int, dict[str, Any]] = {}
        verdicts = []
        for update in updates:
            document = documents.get(update.launch_id)
            if document is None or update.launch_id not in wanted or _is_over(update, document):
                verdicts.append(Verdict.UNWANTED)
                continue
            verdicts.append(Verdict.APPLIED)
            if document["state"] == "RESERVED":
                running[update.launch_id] = started_launch(document, update)
            else:
                # Started a second time: the first executor is gone.
                place = {"host": update.host, "ip": update.ip, "launch_dir": update.launch_dir}
                running[update.launch_id] = {**document, **place}
        writes = [
            Write(
                {
                    "launch_id": launch_id,
                    "state": {"$in": list(ACTIVE)},
                    # Another dispatcher may be noting what it has published: not to be undone.
                    "state_history": documents[launch_id]["state_history"],
                },
                document,
            )
            for launch_id, document in running.items()
        ]
        if write_all(self._launchpad.launches, writes) < len(writes):
            self._start_again([each for each in updates if each.launch_id in running], running)
        self._set_fireworks_state(list(running), _BEFORE_RUNNING, "RUNNING")
        return verdicts

    def _start_again(
        self, updates: Sequence[Started], running: Mapping[int, dict[str, Any]]
    ) -> None:
        """Start those that were changed between being read and being written; once: a ping makes
        up for a lost start.
        """
        documents = self._launches(updates)
        writes = []
        for update in updates:
            document = documents.get(update.launch_id)
            if document is None or document == running[update.launch_id]:
                continue
            if document["state"] == "RESERVED" and not _is_over(update, document):
                where = {"launch_id": update.launch_id, "state": "RESERVED"}
                history = {"state_history": document["state_history"]}
                writes.append(Write({**where, **history}, started_launch(document, update)))
        write_all(self._launchpad.launches, writes)

    def ping(self, update: Ping) -> Verdict:
        """The launch lives: time, checkpoint and trackers, as FireWorks' `ping_launch`."""
        document = self._launch(update)
        if document is None or _is_over(update, document):
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
        self._set_fireworks_state([update.launch_id], ["RUNNING"], "RESERVED")
        return Verdict.APPLIED

    def finish(self, update: Finished) -> str | None:
        """One launch's end; see `finish_all`. Raises WorkflowBusyError."""
        [end] = self.finish_all([update])
        if isinstance(end, WorkflowBusyError):
            raise end
        return end

    def finish_all(self, updates: Sequence[Finished]) -> list[str | WorkflowBusyError | None]:
        """The ends of launches, and all that FireWorks makes follow from them.

        For each the state in which it ended, once all is written; None when the update is stale, or
        when no Firework has the launch any more (it was rerun).
        """
        documents = self._launches(updates)
        ended: dict[int, dict[str, Any]] = {}
        ending: dict[int, tuple[Finished, dict[str, Any]]] = {}
        for update in updates:
            document = documents.get(update.launch_id)
            if document is None or job_id(document) != update.job:
                continue
            if document["state"] not in ACTIVE:
                # Whoever ended it may have died before the Firework knew.
                if self._is_unfinished(update.launch_id):
                    ended[update.launch_id] = document
            elif update.attempt >= attempt_of(document):
                ending.setdefault(update.launch_id, (update, document))
        ended |= self._end(ending)
        refreshed = self._refresher.refresh(list(ended.values()))
        for launch_id in refreshed.fizzled & self._ended.keys():
            self._ended[launch_id] = "FIZZLED"
        return [self._end_of(update, refreshed) for update in updates]

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
        ended = list(self._launchpad.launches.find(query, {"_id": 0}))
        if self._refresher.refresh(ended).busy:
            raise WorkflowBusyError("a workflow whose jobs had ended is locked")
        return len(ended)

    def _end(
        self, ending: Mapping[int, tuple[Finished, dict[str, Any]]]
    ) -> dict[int, dict[str, Any]]:
        """End launches that are still active: only one can. Their documents."""
        finished = {
            launch_id: finished_launch(document, update)
            for launch_id, (update, document) in ending.items()
        }
        writes = [
            Write({"launch_id": launch_id, "state": {"$in": list(ACTIVE)}}, document)
            for launch_id, document in finished.items()
        ]
        if write_all(self._launchpad.launches, writes) == len(writes):
            self._ended.update((launch_id, each["state"]) for launch_id, each in finished.items())
            return finished
        found = self._launchpad.launches.find({"launch_id": {"$in": list(finished)}}, {"_id": 0})
        by_id = {document["launch_id"]: document for document in found}
        there = {launch_id: by_id[launch_id] for launch_id in finished if launch_id in by_id}
        for launch_id, document in there.items():
            if document["state_history"] == finished[launch_id]["state_history"]:
                self._ended[launch_id] = document["state"]
        return there

    def _end_of(self, update: Finished, refreshed: Refreshed) -> str | WorkflowBusyError | None:
        if update.launch_id in refreshed.busy:
            return WorkflowBusyError(f"the workflow of launch {update.launch_id} is locked")
        state = self._ended.pop(update.launch_id, None)
        return state if update.launch_id in refreshed.done else None

    def _is_unfinished(self, launch_id: int) -> bool:
        """Whether a launch that has ended is still to be carried into its Firework."""
        if launch_id in self._ended or self._is_wanted(launch_id, list(ACTIVE)):
            return True
        # A dispatcher that was stopped for long, and woke, may have written the Firework after its
        # successor had brought the workflow up to date.
        firework = self._launchpad.fireworks.find_one(
            {"launches": launch_id}, {"fw_id": 1, "state": 1}
        )
        if firework is None:
            return False
        there = f"fw_states.{firework['fw_id']}"
        lagging = {"nodes": firework["fw_id"], there: {"$ne": firework["state"]}}
        return self._launchpad.workflows.find_one(lagging, {"_id": 1}) is not None

    def _launches(self, updates: Sequence[LaunchUpdate]) -> dict[int, dict[str, Any]]:
        ids = list({update.launch_id for update in updates})
        found = self._launchpad.launches.find({"launch_id": {"$in": ids}}, {"_id": 0})
        return {document["launch_id"]: document for document in found}

    def _launch(self, update: LaunchUpdate) -> dict[str, Any] | None:
        """The launch that an update is about; None also when the id is another launch's by now."""
        found: dict[str, Any] | None = self._launchpad.launches.find_one(
            {"launch_id": update.launch_id}, {"_id": 0}
        )
        return found if found is not None and job_id(found) == update.job else None

    def _is_wanted(self, launch_id: int, states: list[str]) -> bool:
        return launch_id in self._wanted([launch_id], states)

    def _wanted(self, launch_ids: list[int], states: list[str]) -> set[int]:
        """Those of the launches that a Firework in one of these states has."""
        found = self._launchpad.fireworks.find(
            {"launches": {"$in": launch_ids}, "state": {"$in": states}}, {"launches": 1}
        )
        return {launch_id for firework in found for launch_id in firework["launches"]}

    def _set_fireworks_state(self, launch_ids: list[int], before: list[str], state: str) -> None:
        """Move the Fireworks that have these launches to RUNNING or RESERVED."""
        found = self._launchpad.fireworks.find(
            {"launches": {"$in": launch_ids}, "state": {"$in": before}}, {"fw_id": 1}
        )
        fw_ids = [firework["fw_id"] for firework in found]
        if not fw_ids:
            return
        self._launchpad.fireworks.update_many(
            {"fw_id": {"$in": fw_ids}, "launches": {"$in": launch_ids}, "state": {"$in": before}},
            {"$set": {"state": state, "updated_on": now_as_text()}},
        )
        self._store.record(fw_ids)


def _is_over(update: LaunchUpdate, document: dict[str, Any]) -> bool:
    """Whether the attempt that speaks can achieve nothing any more."""
    return (
        job_id(document) != update.job
        or update.attempt < attempt_of(document)
        or document["state"] not in ACTIVE
    )


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
