"""Two LaunchPads in which the same happens: one is the dispatcher's, one FireWorks' alone."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fireworks import FWAction, FWorker, LaunchPad, Workflow

from dispatcher.held_launches import Claim
from dispatcher.updates import Verdict
from dispatcher.workflow_copy import SEAL
from messaging.failures import failure_action
from tests.dispatcher.random_workflows import Outcome
from tests.dispatcher.workbench import CLAIMANT, Workbench, finished, ping, started
from tests.fidelity.normalise import comparable, differences


@dataclass
class Job:
    """A claimed launch, on both sides."""

    name: str
    claim: Claim
    their_launch_id: int
    started: bool = False

    @property
    def may_be_shared(self) -> bool:
        """Whether a duplicate may have the same launch."""
        assert self.claim.firework is not None
        return "_dupefinder" in self.claim.firework["spec"]


class Twins:
    """Does everything twice: batch-wise with the dispatcher's parts, and with FireWorks' API one by
    one. What must be chosen (which Firework is claimed) is chosen by the dispatcher.
    """

    def __init__(self, ours: LaunchPad, theirs: LaunchPad) -> None:
        self.ours = ours
        self.theirs = theirs
        self.bench = Workbench(ours)
        #: Claimed, and not heard of the end.
        self.jobs: dict[str, Job] = {}

    def clear(self, *, claims_freed: bool = False) -> None:
        """Start anew, which is quicker than new databases.

        `claims_freed`: the dispatcher claims at once what ends have made READY.
        """
        for launchpad in (self.ours, self.theirs):
            for name in ("fireworks", "launches", "workflows"):
                getattr(launchpad, name).delete_many({})
            launchpad._restart_ids(1, 1)  # as `lpad reset` does
            launchpad.backup_launch_data.clear()
            launchpad.backup_fw_data.clear()
        self.bench = Workbench(self.ours)
        self.bench.claims_freed = claims_freed
        self.jobs = {}

    def ids(self, launchpad: LaunchPad) -> dict[str, int]:
        """Ids of all Fireworks by name."""
        found = launchpad.fireworks.find({}, {"name": 1, "fw_id": 1})
        return {firework["name"]: firework["fw_id"] for firework in found}

    def names(self) -> list[str]:
        """Names of all Fireworks."""
        return sorted(self.ids(self.ours))

    def add(self, workflow: Workflow) -> None:
        """Add a workflow to both."""
        document = workflow.to_dict()
        for launchpad in (self.ours, self.theirs):
            launchpad.add_wf(Workflow.from_dict(copy.deepcopy(document)))

    def claim(self, limit: int) -> list[Job]:
        """Claim up to so many."""
        looked_at: list[int] = []
        reserve = self.ours.reserve_fw

        def recorded(*args: Any) -> Any:
            looked_at.append(args[-1])
            return reserve(*args)

        self.ours.reserve_fw = recorded
        try:
            claims = self.bench.claim(limit)
        finally:
            del self.ours.reserve_fw
        return self._claimed(claims, looked_at)

    def _claimed(self, claims: Sequence[Claim], looked_at: Sequence[int] = ()) -> list[Job]:
        """The dispatcher has claimed these: so does FireWorks."""
        # What FireWorks looked at for us (duplicates), it did first.
        known = {fw_id: name for name, fw_id in self.ids(self.ours).items()}
        names = [known[fw_id] for fw_id in looked_at]
        names += [known[claim.fw_id] for claim in claims if claim.fw_id not in looked_at]
        launch_ids = {name: self._reserve(name) for name in names}
        jobs = []
        for claim in claims:
            name = known[claim.fw_id]
            launch_id = launch_ids[name]
            assert launch_id is not None, f"FireWorks does not claim {name}"
            jobs.append(Job(name, claim, launch_id))
        self.jobs.update((job.name, job) for job in jobs)
        return jobs

    def start(self, jobs: Sequence[Job]) -> None:
        """Jobs of which nobody has heard begin to run."""
        fresh = [job for job in jobs if not job.started]
        verdicts = self.bench.updates.start_all([started(job.claim) for job in fresh])
        for job, verdict in zip(fresh, verdicts, strict=True):
            if verdict is Verdict.APPLIED:
                job.started = True
                self._checkout(job)
            else:
                self.jobs.pop(job.name, None)

    def ping(self, job: Job, checkpoint: dict[str, Any]) -> None:
        """A running job tells how far it is."""
        if job.started:
            verdict = self.bench.updates.ping(ping(job.claim, checkpoint=checkpoint))
            if self.theirs.launches.find_one({"launch_id": job.their_launch_id}) is not None:
                self.theirs.ping_launch(job.their_launch_id, checkpoint=checkpoint)
            if verdict is not Verdict.APPLIED:
                self.jobs.pop(job.name, None)

    def finish(self, outcomes: Sequence[tuple[Job, Outcome]]) -> None:
        """Jobs end, all at once here, in this order there; some were never heard to start."""
        fw_ids = self.ids(self.ours)
        updates = []
        for job, outcome in outcomes:
            action = copy.deepcopy(outcome.told(fw_ids))
            updates.append(finished(job.claim, state=outcome.state, action=action))
        self.bench.updates.finish_all(updates)
        for job, outcome in outcomes:
            self.jobs.pop(job.name, None)
            if not job.started:
                self._checkout(job)
            self._complete(job, outcome)
        self._claimed(self.bench.take_freed())

    def lpad(self, command: str, name: str, *args: Any) -> None:
        """A command of FireWorks on one Firework, or its workflow."""
        for launchpad in (self.ours, self.theirs):
            getattr(launchpad, command)(self.ids(launchpad)[name], *args)

    def update_spec(self, names: Sequence[str], fields: dict[str, Any]) -> None:
        """``lpad update_fws``."""
        for launchpad in (self.ours, self.theirs):
            ids = self.ids(launchpad)
            launchpad.update_spec([ids[name] for name in names], fields)

    def append(self, names: Sequence[str], workflow: dict[str, Any], detour: bool) -> None:
        """``lpad append_wflow``; what FireWorks refuses it refuses on both sides."""
        refused = []
        for launchpad in (self.ours, self.theirs):
            ids = self.ids(launchpad)
            new = Workflow.from_dict(copy.deepcopy(workflow))
            try:
                launchpad.append_wf(new, [ids[name] for name in names], detour=detour)
            except ValueError as exc:
                refused.append(type(exc))
        assert len(refused) in (0, 2)

    def compare(self) -> None:
        """Both LaunchPads say the same."""
        ours, theirs = _documents(self.ours), _documents(self.theirs)
        found = differences(ours, theirs)
        assert not found, "\n".join(found)

    def _reserve(self, name: str) -> int | None:
        fw_id = self.ids(self.theirs)[name]
        _, launch_id = self.theirs.reserve_fw(
            FWorker(), CLAIMANT.launch_dir, host="worker", ip="10.0.0.1", fw_id=fw_id
        )
        return None if launch_id is None else int(launch_id)

    def _checkout(self, job: Job) -> None:
        """As a worker starts what was reserved for it."""
        fw_id = self.ids(self.theirs)[job.name]
        _, launch_id = self.theirs.checkout_fw(
            FWorker(), "/jobs/here", fw_id=fw_id, host="worker", ip="10.0.0.1"
        )
        assert launch_id == job.their_launch_id, f"FireWorks does not start {job.name}"

    def _complete(self, job: Job, outcome: Outcome) -> None:
        """As FireWorks' Rocket ends its launch."""
        if self.theirs.launches.find_one({"launch_id": job.their_launch_id}) is None:
            return
        told = copy.deepcopy(outcome.told(self.ids(self.theirs)))
        try:
            self.theirs.complete_launch(
                job.their_launch_id, FWAction.from_dict(told), outcome.state
            )
        except RuntimeError:
            fw_id = self.ids(self.theirs)[job.name]
            self.theirs.restore_backup_data(job.their_launch_id, fw_id)
            failed = FWAction.from_dict(failure_action("runtime error during task"))
            self.theirs.complete_launch(job.their_launch_id, failed, "FIZZLED")


def _documents(launchpad: LaunchPad) -> dict[str, Any]:
    documents = comparable(launchpad, Path("/nowhere"))
    for document in documents.values():
        document.pop(SEAL, None)
        _forget_stacktrace(document)
    return documents


def _forget_stacktrace(document: Any) -> None:
    """Whose code refused an FWAction is not the same, of course."""
    if isinstance(document, dict):
        document.pop("_stacktrace", None)
    for value in document.values() if isinstance(document, dict) else document:
        if isinstance(value, (dict, list)):
            _forget_stacktrace(value)
