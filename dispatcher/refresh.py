"""Carries the ends of launches into their Fireworks and workflows, many at once.

Most ends are plain: the FWAction changes nothing of the workflow, and whoever waits for the
Firework waits for nothing else, or goes on waiting. What FireWorks' ``Workflow.refresh`` makes of
those is written here field by field, for all workflows in one go. All others, and whatever turns
out not to be as it was thought, are left to `refresh` itself, one workflow at a time.

Both may be repeated: an interrupted one leaves its locks; `WorkflowStore.recover` does the rest.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dispatcher.bulk import Write, write_all
from dispatcher.launch_documents import ACTIVE, fizzled_launch, now_as_text
from dispatcher.stored_workflow import WorkflowStore
from dispatcher.workflow_batch import WorkflowBatch
from dispatcher.workflow_copy import WorkflowCopy
from dispatcher.workflow_errors import ActionError, WorkflowBusyError, WorkflowMissingError

log = logging.getLogger(__name__)

#: What an FWAction may say that concerns other Fireworks.
_FAR_REACHING = (
    "update_spec",
    "mod_spec",
    "additions",
    "detours",
    "append_wfs",
    "defuse_children",
    "defuse_workflow",
    # The action was too large for the launch's document: nobody knows what it says.
    "gridfs_id",
)


@dataclass
class Refreshed:
    """Launches by what became of them; those in none of these have no Firework any more."""

    done: set[int] = field(default_factory=set)
    #: Somebody else has the workflow locked: they must be refreshed again later.
    busy: set[int] = field(default_factory=set)
    #: Their FWAction could not be applied: they ended FIZZLED instead.
    fizzled: set[int] = field(default_factory=set)


@dataclass(frozen=True)
class _Member:
    """A Firework whose launch has ended."""

    fw_id: int
    launch: Mapping[str, Any]
    firework: Mapping[str, Any]

    @property
    def launch_id(self) -> int:
        return int(self.launch["launch_id"])

    @property
    def is_plain(self) -> bool:
        """Whether its end says nothing about other Fireworks."""
        action = self.launch.get("action") or {}
        return (
            self.firework["state"] in ACTIVE
            and self.firework["launches"] == [self.launch_id]
            and (
                self.launch["state"] == "FIZZLED"
                or not any(action.get(word) for word in _FAR_REACHING)
            )
        )


#: Told of Fireworks that have become READY, with their workflows, which are locked.
OnReady = Callable[[Mapping[int, WorkflowCopy]], None]


def leave_to_claim(_ready: Mapping[int, WorkflowCopy]) -> None:
    """They are claimed like all others, later."""


class Refresher:
    """Refreshes Fireworks for one dispatcher. Not thread-safe; raises pymongo's errors."""

    def __init__(
        self, launchpad: Any, store: WorkflowStore, on_ready: OnReady = leave_to_claim
    ) -> None:
        """`on_ready` may claim them, and say so in the workflows."""
        self._launchpad = launchpad
        self._store = store
        self._on_ready = on_ready

    def refresh(self, launches: Sequence[Mapping[str, Any]]) -> Refreshed:
        """Carry the ends of these launches (their documents) as far as they reach."""
        by_id = {launch["launch_id"]: launch for launch in launches}
        found = self._launchpad.fireworks.find(
            {"launches": {"$in": list(by_id)}}, {"fw_id": 1, "state": 1, "launches": 1}
        )
        owners: dict[int, list[dict[str, Any]]] = {launch_id: [] for launch_id in by_id}
        for firework in found:
            for launch_id in by_id.keys() & set(firework["launches"]):
                owners[launch_id].append(firework)
        # In their order: what FWActions make of a workflow may depend on it.
        members = [
            _Member(firework["fw_id"], by_id[launch_id], firework)
            for launch_id, fireworks in owners.items()
            for firework in fireworks
        ]
        result = Refreshed(done={member.launch_id for member in members})
        if members:
            self._refresh(members, result)
        result.done -= result.busy
        return result

    def _refresh(self, members: Sequence[_Member], result: Refreshed) -> None:
        batch = self._store.batch(member.fw_id for member in members)
        of_workflow: dict[Any, tuple[WorkflowCopy, list[_Member]]] = {}
        for member in members:
            if member.fw_id in batch.busy:
                result.busy.add(member.launch_id)
            elif (copy := batch.of(member.fw_id)) is not None:
                of_workflow.setdefault(copy.id, (copy, []))[1].append(member)
            else:
                log.warning("Firework %d belongs to no workflow", member.fw_id)
        others, ready = self._end_plainly(list(of_workflow.values()))
        for copy, some in others:
            self._leave_to_fireworks(batch, copy, some, result)
        if ready:
            self._on_ready(ready)
        lost = batch.commit()
        result.busy |= {member.launch_id for member in members if member.fw_id in lost}

    def _end_plainly(
        self, workflows: Sequence[tuple[WorkflowCopy, list[_Member]]]
    ) -> tuple[list[tuple[WorkflowCopy, list[_Member]]], dict[int, WorkflowCopy]]:
        """Write what is plain; gives the workflows in which something is not, and the Fireworks
        that have become READY in the others.
        """
        plans = [_Plan(copy, members) for copy, members in workflows]
        children = self._children(plans)
        now = now_as_text()
        plain = [plan for plan in plans if plan.settle(children)]
        writes = [write for plan in plain for write in plan.writes(now)]
        if write_all(self._launchpad.fireworks, writes) == len(writes):
            ready = {fw_id: plan.copy for plan in plain for fw_id in plan.ready}
            return [(plan.copy, plan.members) for plan in plans if not plan.is_plain], ready
        # Somebody changed a Firework without a lock, such as lpad's pause.
        return [(plan.copy, plan.members) for plan in plans], {}

    def _children(self, plans: Iterable[_Plan]) -> dict[int, dict[str, Any]]:
        wanted = [fw_id for plan in plans if plan.is_plain for fw_id in plan.freed]
        if not wanted:
            return {}
        # One without tasks is broken: what FireWorks makes of that is FireWorks' to say.
        found = self._launchpad.fireworks.find(
            {"fw_id": {"$in": wanted}, "spec._tasks.0": {"$exists": True}},
            {"fw_id": 1, "state": 1, "launches": 1, "spec._allow_fizzled_parents": 1},
        )
        return {firework["fw_id"]: firework for firework in found}

    def _leave_to_fireworks(
        self,
        batch: WorkflowBatch,
        copy: WorkflowCopy,
        members: Sequence[_Member],
        result: Refreshed,
    ) -> None:
        locked = self._store.take_over(batch.release(copy))
        try:
            # An earlier try, or what was taken for plain, may have been written in part.
            locked.resync()
            for member in members:
                locked.refresh(member.fw_id)
            locked.commit()
        except WorkflowBusyError:
            result.busy |= {member.launch_id for member in members}
        except WorkflowMissingError as exc:
            locked.abandon()
            log.warning("%s", exc)
        except ActionError as exc:
            locked.abandon()
            self._one_by_one(members, str(exc), result)

    def _one_by_one(self, members: Sequence[_Member], error: str, result: Refreshed) -> None:
        """One of several FWActions cannot be applied: find out which, and apply the others."""
        for member in members:
            try:
                if len(members) > 1:
                    self._store.refresh(member.fw_id)
                else:
                    self._fizzle(member, error, result)
            except WorkflowBusyError:
                result.busy.add(member.launch_id)
            except WorkflowMissingError as exc:
                log.warning("%s", exc)
            except ActionError as exc:
                self._one_by_one([member], str(exc), result)

    def _fizzle(self, member: _Member, stacktrace: str, result: Refreshed) -> None:
        """The FWAction could not be applied: discard it, as FireWorks' Rocket does."""
        fw_id, launch_id = member.fw_id, member.launch_id
        document = self._launchpad.launches.find_one({"launch_id": launch_id}, {"_id": 0})
        if document is not None and document["state"] == "COMPLETED":
            log.warning("the FWAction of Firework %d cannot be applied; it is FIZZLED", fw_id)
            self._launchpad.launches.replace_one(
                {"launch_id": launch_id, "state": "COMPLETED"}, fizzled_launch(document, stacktrace)
            )
            result.fizzled.add(launch_id)
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
            {"$set": {"state": "FIZZLED", "updated_on": now_as_text()}},
        )
        if self._launchpad.fireworks.find_one({"fw_id": fw_id, "state": "FIZZLED"}) is None:
            return
        # Also when an earlier try came only so far, because the workflow was busy.
        if self._store.record([fw_id]):
            raise WorkflowBusyError(f"the workflow of Firework {fw_id} is locked")


class _Plan:
    """What is to become of one workflow if all that ended in it ended plainly."""

    def __init__(self, copy: WorkflowCopy, members: list[_Member]) -> None:
        self.copy = copy
        self.members = members
        self.is_plain = all(
            member.is_plain and copy.may_end_plainly(member.fw_id) for member in members
        )
        #: Children that wait for nobody any more, unless it be for FIZZLED parents.
        self.freed: set[int] = set()
        if self.is_plain:
            for member in members:
                copy.set_state(member.fw_id, member.launch["state"])
            self.freed = {child for member in members for child in copy.freed_by(member.fw_id)}

    def settle(self, children: Mapping[int, Mapping[str, Any]]) -> bool:
        """Whether it is plain, now that the freed children are known."""
        self.is_plain = self.is_plain and all(
            self._is_plain_child(fw_id, children.get(fw_id)) for fw_id in self.freed
        )
        if self.is_plain:
            for fw_id in self.ready:
                self.copy.set_state(fw_id, "READY")
        return self.is_plain

    def writes(self, now: str) -> list[Write]:
        """The changes of Fireworks, each of one that is as it was read."""
        ended = [
            Write(
                {
                    "fw_id": member.fw_id,
                    "state": {"$in": list(ACTIVE)},
                    "launches": [member.launch_id],
                },
                {"$set": {"state": member.launch["state"], "updated_on": now}},
            )
            for member in self.members
        ]
        ready = [
            Write(
                {"fw_id": fw_id, "state": "WAITING"},
                {"$set": {"state": "READY", "updated_on": now}},
            )
            for fw_id in self.ready
        ]
        return ended + ready

    @property
    def ready(self) -> list[int]:
        """Children that become READY."""
        return sorted(fw_id for fw_id in self.freed if not self.copy.has_fizzled_parent(fw_id))

    def _is_plain_child(self, fw_id: int, child: Mapping[str, Any] | None) -> bool:
        if child is None or child["state"] != "WAITING" or child["launches"]:
            return False
        if not self.copy.has_fizzled_parent(fw_id):
            return True
        return not (child.get("spec") or {}).get("_allow_fizzled_parents")
