"""A workflow that somebody else has locked holds up nothing but itself."""

from __future__ import annotations

import logging
import time

import pytest
from fireworks import LaunchPad, Workflow
from fireworks.core.launchpad import LockedWorkflowError

from dispatcher.held_launches import Claim
from dispatcher.updates import Verdict
from dispatcher.workflow_errors import WorkflowBusyError
from tests.dispatcher.workbench import Workbench, firework, started


def _lock(launchpad: LaunchPad) -> None:
    launchpad.workflows.update_one({"nodes": 1}, {"$set": {"locked": True}})


def _pass(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Let so much time pass at once."""
    clock = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: clock() + seconds)


def _names(claims: list[Claim]) -> list[str]:
    return [claim.firework["name"] for claim in claims if claim.firework]


@pytest.fixture
def locked(bench: Workbench, launchpad: LaunchPad) -> Workbench:
    """Thirty Fireworks of high priority in a locked workflow, and a free one."""
    many = [firework(str(number), _priority=9) for number in range(30)]
    launchpad.add_wf(Workflow(many))
    launchpad.add_wf(firework("free"))
    _lock(launchpad)
    return bench


@pytest.mark.parametrize("limit", [1, 24])
def test_a_locked_workflow_starves_no_other(
    locked: Workbench, launchpad: LaunchPad, limit: int
) -> None:
    counter = launchpad.fw_id_assigner.find_one({})["next_launch_id"]
    assert _names(locked.claim(limit)) == ["free"]
    assert locked.claim(limit) == []
    assert locked.claims.anything_ready()
    assert launchpad.launches.count_documents({}) == 1
    assert launchpad.fw_id_assigner.find_one({})["next_launch_id"] == counter + 1


def test_what_was_locked_is_claimed_when_it_is_free(
    locked: Workbench, launchpad: LaunchPad, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(locked.claim()) == 1
    launchpad.workflows.update_one({"nodes": 1}, {"$unset": {"locked": True}})
    _pass(monkeypatch, 3.0)
    assert len(locked.claim()) == 30


def test_a_lock_is_waited_for_once_not_by_every_update(
    bench: Workbench, launchpad: LaunchPad
) -> None:
    launchpad.add_wf(Workflow([firework(str(number)) for number in range(30)]))
    claims = bench.claim()
    _lock(launchpad)
    began = time.monotonic()
    for claim in claims:
        assert bench.updates.start(started(claim)) is Verdict.APPLIED
    assert time.monotonic() - began < 5.0  # 30 waits would take 15 s


def test_a_lock_that_stays_is_told_of_once(
    bench: Workbench,
    launchpad: LaunchPad,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    launchpad.add_wf(firework("it"))
    _lock(launchpad)
    with caplog.at_level(logging.WARNING, "dispatcher"):
        for _ in range(4):
            with pytest.raises(WorkflowBusyError):
                bench.store.lock(1)
            _pass(monkeypatch, 2.5)
    told = [record.message for record in caplog.records if "Firework 1 is locked" in record.message]
    assert len(told) == 1


def test_a_duplicable_firework_of_a_locked_workflow_waits(
    bench: Workbench, launchpad: LaunchPad
) -> None:
    launchpad.add_wf(firework("it", _dupefinder={"_fw_name": "DupeFinderExact"}))
    _lock(launchpad)
    assert bench.claim() == []
    launchpad.workflows.update_one({}, {"$unset": {"locked": True}})
    again = Workbench(launchpad)
    assert _names(again.claim()) == ["it"]


def test_a_firework_added_before_its_workflow_is_claimed_once_that_is_there(
    bench: Workbench, launchpad: LaunchPad, monkeypatch: pytest.MonkeyPatch
) -> None:
    launchpad.add_wf(firework("it"))
    workflow = launchpad.workflows.find_one_and_delete({})
    assert bench.claim() == []
    assert launchpad.launches.count_documents({}) == 0
    launchpad.workflows.insert_one(workflow)
    assert bench.claim() == []
    _pass(monkeypatch, 11.0)
    assert _names(bench.claim()) == ["it"]


def test_a_lock_met_in_the_duplicate_check_does_not_set_the_firework_aside_for_long(
    bench: Workbench, launchpad: LaunchPad, monkeypatch: pytest.MonkeyPatch
) -> None:
    launchpad.add_wf(firework("it", _dupefinder={"_fw_name": "DupeFinderExact"}))

    def locked(*_: object) -> None:
        raise LockedWorkflowError("Could not get workflow - LOCKED: 1")

    with monkeypatch.context() as patch:
        patch.setattr(launchpad, "reserve_fw", locked)
        assert bench.claim() == []
    assert _names(bench.claim()) == ["it"]
