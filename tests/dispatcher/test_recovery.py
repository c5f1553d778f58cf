"""A dispatcher that was cut off anywhere is followed by one that loses and repeats nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fireworks import FWAction, LaunchPad, Workflow

import dispatcher.locked_workflow
from dispatcher.held_launches import needs_publishing
from dispatcher.journal import Holder
from dispatcher.refresh import Refresher
from dispatcher.stored_workflow import WorkflowStore
from dispatcher.workflow_batch import WorkflowBatch
from dispatcher.workflow_errors import WorkflowBusyError
from tests.dispatcher.workbench import CLAIMANT, Workbench, finished, firework, started


class CutOff(BaseException):
    """The dispatcher is dead from here on."""


POINTS = {
    "before the journal": ("write_journal", "before"),
    "after the journal": ("write_journal", "after"),
    "before the documents": ("write_documents", "before"),
    "after the documents": ("write_documents", "after"),
    "after the journal is cleared": ("clear_journal", "after"),
}


def _grow() -> FWAction:
    return FWAction(
        mod_spec=[{"_push": {"list": 1}}, {"_inc": {"count": 1}}], additions=firework("added")
    )


def _dying(original: Callable[..., Any], when: str) -> Callable[..., Any]:
    def call(*args: Any) -> Any:
        if when == "before":
            raise CutOff
        original(*args)
        raise CutOff

    return call


@pytest.mark.parametrize("where", POINTS)
def test_an_interrupted_commit_is_finished_once(
    launchpad: LaunchPad, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    parent, child = firework("it"), firework("child")
    launchpad.add_wf(Workflow([parent, child], {parent: [child]}))
    first = Workbench(launchpad)
    [claim] = first.claim()
    name, when = POINTS[where]
    with monkeypatch.context() as patch:
        original = getattr(dispatcher.locked_workflow, name)
        patch.setattr(dispatcher.locked_workflow, name, _dying(original, when))
        with pytest.raises(CutOff):
            first.updates.finish(finished(claim, action=_grow()))
    second = Workbench(launchpad)
    second.store.recover()
    second.updates.settle_ended(CLAIMANT)
    for _ in range(2):
        # The update is delivered again, and again.
        assert second.updates.finish(finished(claim, action=_grow())) is None
    assert second.state("it") == "COMPLETED"
    assert second.state("child") == "READY"
    spec = second.firework("child")["spec"]
    assert (spec["list"], spec["count"]) == ([1], 1)
    assert launchpad.fireworks.count_documents({"name": "added"}) == 1
    assert launchpad.workflows.count_documents({"locked": True}) == 0
    assert launchpad.db["portfire_journal"].count_documents({}) == 0


def test_a_workflow_half_written_without_a_journal_does_not_lose_the_join(
    launchpad: LaunchPad, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two, join = firework("one"), firework("two"), firework("join")
    launchpad.add_wf(Workflow([one, two, join], {one: [join], two: [join]}))
    first = Workbench(launchpad)
    claims = {claim.firework["name"]: claim for claim in first.claim() if claim.firework}

    with monkeypatch.context() as patch:
        patch.setattr(WorkflowBatch, "commit", _dying(WorkflowBatch.commit, "before"))
        with pytest.raises(CutOff):
            first.updates.finish(finished(claims["one"]))
    assert first.firework("one")["state"] == "COMPLETED"
    second = Workbench(launchpad)
    assert second.store.recover() == 1
    # The other parent ends before the first one's update comes again: the join must be freed.
    second.updates.finish(finished(claims["two"]))
    second.updates.finish(finished(claims["one"]))
    assert second.state("join") == "READY"


def test_a_launch_that_ended_just_before_the_death_is_settled_without_its_update(
    launchpad: LaunchPad, monkeypatch: pytest.MonkeyPatch
) -> None:
    launchpad.add_wf(firework("it"))
    first = Workbench(launchpad)
    [claim] = first.claim()
    first.updates.start(started(claim))
    with monkeypatch.context() as patch:
        patch.setattr(Refresher, "refresh", _dying(Refresher.refresh, "before"))
        with pytest.raises(CutOff):
            first.updates.finish(finished(claim))
    second = Workbench(launchpad)
    assert second.store.recover() == 0
    assert second.updates.settle_ended(CLAIMANT) == 1
    assert second.updates.settle_ended(CLAIMANT) == 0
    assert second.state("it") == "COMPLETED"


def test_a_claim_cut_off_before_the_workflow_knew_is_published_later(
    launchpad: LaunchPad, monkeypatch: pytest.MonkeyPatch
) -> None:
    launchpad.add_wf(Workflow([firework("one"), firework("two")]))
    first = Workbench(launchpad)
    with monkeypatch.context() as patch:
        patch.setattr(WorkflowBatch, "commit", _dying(WorkflowBatch.commit, "before"))
        with pytest.raises(CutOff):
            first.claims.claim(10)
    second = Workbench(launchpad)
    second.store.recover()
    assert (second.state("one"), second.state("two")) == ("RESERVED", "RESERVED")
    active = second.held.load(second.held.ids())
    assert len(active) == 2
    assert all(needs_publishing(claim) for claim in active)
    assert second.claims.claim(10) == []


def test_a_successor_takes_the_locks_and_its_predecessor_can_write_no_more(
    launchpad: LaunchPad,
) -> None:
    parent, child = firework("it"), firework("child")
    launchpad.add_wf(Workflow([parent, child], {parent: [child]}))
    first = Workbench(launchpad)
    [claim] = first.claim()
    refreshing = first.store.lock(claim.fw_id)
    second = Workbench(launchpad)
    assert second.store.recover() == 1
    before = list(launchpad.workflows.find({}))
    refreshing.refresh(claim.fw_id)
    with pytest.raises(WorkflowBusyError, match="taken away"):
        refreshing.commit()
    holding = second.store.lock(claim.fw_id)
    refreshing.abandon()
    assert launchpad.workflows.count_documents({"locked": True}) == 1
    holding.abandon()
    assert list(launchpad.workflows.find({})) == before
    assert launchpad.db["portfire_journal"].count_documents({}) == 0


def test_a_recovery_that_is_cut_off_is_finished_by_the_next(
    launchpad: LaunchPad, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent, child = firework("it"), firework("child")
    launchpad.add_wf(Workflow([parent, child], {parent: [child]}))
    first = Workbench(launchpad)
    [claim] = first.claim()
    ended = finished(claim, action=_grow())
    second = Workbench(launchpad)
    for module, act in (
        ("dispatcher.locked_workflow", lambda: first.updates.finish(ended)),
        ("dispatcher.journal", second.store.recover),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(f"{module}.write_documents", _dying(lambda *_: None, "before"))
            with pytest.raises(CutOff):
                act()
    third = Workbench(launchpad)
    assert third.store.recover() == 1
    assert (third.state("it"), third.state("child")) == ("COMPLETED", "READY")
    assert launchpad.workflows.count_documents({"locked": True}) == 0


def test_another_dispatchers_lock_and_journal_are_left_alone(
    bench: Workbench, launchpad: LaunchPad
) -> None:
    launchpad.add_wf(firework("it"))
    other = WorkflowStore(launchpad, Holder("portfire/other/default", "1"))
    other.lock(1)
    launchpad.db["portfire_journal"].insert_one({"owner": "portfire/other/default"})
    assert bench.store.recover() == 0
    assert launchpad.workflows.count_documents({"locked": True}) == 1
    assert other.recover() == 1
    assert launchpad.workflows.count_documents({"locked": True}) == 0
