"""Updates are applied once each, in whatever order they come."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from bson.errors import InvalidDocument
from fireworks import FWAction, LaunchPad, Workflow

from dispatcher.held_launches import Claim
from dispatcher.updates import Verdict
from dispatcher.workflow_errors import WorkflowBusyError
from messaging.wire import LaunchUpdate
from tests.dispatcher.workbench import (
    State,
    Workbench,
    finished,
    firework,
    ping,
    released,
    started,
)

APPLY: dict[str, Callable[[Workbench, LaunchUpdate], Any]] = {
    "started": lambda bench, update: bench.updates.start(update),  # type: ignore[arg-type]
    "ping": lambda bench, update: bench.updates.ping(update),  # type: ignore[arg-type]
    "released": lambda bench, update: bench.updates.release(update),  # type: ignore[arg-type]
    "finished": lambda bench, update: bench.updates.finish(update),  # type: ignore[arg-type]
}


def apply(bench: Workbench, update: LaunchUpdate) -> Any:
    return APPLY[update.update](bench, update)


@pytest.fixture
def claim(bench: Workbench, launchpad: LaunchPad) -> Claim:
    """One claimed Firework, "it", with a child."""
    parent, child = firework("it"), firework("child")
    launchpad.add_wf(Workflow([parent, child], {parent: [child]}))
    [claim] = bench.claim()
    assert bench.state("it") == "RESERVED"
    return claim


def test_started_makes_it_running_where_it_runs(bench: Workbench, claim: Claim) -> None:
    assert bench.updates.start(started(claim)) is Verdict.APPLIED
    assert bench.state("it") == "RUNNING"
    launch = bench.launch(claim)
    assert (launch["state"], launch["host"], launch["ip"]) == ("RUNNING", "worker", "10.0.0.1")
    assert launch["launch_dir"] == "/jobs/here"
    assert [entry["state"] for entry in launch["state_history"]] == ["RESERVED", "RUNNING"]
    assert launch["state_history"][0]["reservation_id"] == "message-1"


def test_finished_completes_it_and_frees_the_child(bench: Workbench, claim: Claim) -> None:
    bench.updates.start(started(claim))
    end = finished(claim, action=FWAction(stored_data={"a": 1}, update_spec={"b": 2}))
    assert bench.updates.finish(end) == "COMPLETED"
    assert bench.state("it") == "COMPLETED"
    assert bench.state("child") == "READY"
    assert bench.firework("child")["spec"]["b"] == 2
    launch = bench.launch(claim)
    assert launch["action"]["stored_data"] == {"a": 1}
    assert launch["runtime_secs"] == pytest.approx(0.0, abs=5.0)


def test_the_same_end_twice_counts_once(bench: Workbench, claim: Claim) -> None:
    action = FWAction(
        mod_spec=[{"_push": {"list": 1}}, {"_inc": {"count": 1}}], additions=firework("added")
    )
    assert bench.updates.finish(finished(claim, action=action)) == "COMPLETED"
    before = bench.firework("child")
    assert bench.updates.finish(finished(claim, action=action)) is None
    assert bench.updates.finish(finished(claim, state="FIZZLED")) is None
    assert bench.firework("child") == before
    assert before["spec"]["list"] == [1]
    assert before["spec"]["count"] == 1
    assert bench.launchpad.fireworks.count_documents({"name": "added"}) == 1


def test_an_end_before_its_start_wins(bench: Workbench, claim: Claim) -> None:
    assert bench.updates.finish(finished(claim)) == "COMPLETED"
    launch = bench.launch(claim)
    assert bench.updates.start(started(claim)) is Verdict.UNWANTED
    assert bench.updates.release(released(claim)) is Verdict.STALE
    assert bench.updates.ping(ping(claim)) is Verdict.UNWANTED
    assert bench.launch(claim) == launch
    assert [entry["state"] for entry in launch["state_history"]] == [
        "RESERVED",
        "RUNNING",
        "COMPLETED",
    ]


@pytest.mark.parametrize("order", list(itertools.permutations(["started", "ping", "finished"])))
def test_every_order_gives_the_same_end(
    bench: Workbench, claim: Claim, order: tuple[str, ...]
) -> None:
    updates: dict[str, LaunchUpdate] = {
        "started": started(claim),
        "ping": ping(claim),
        "finished": finished(claim),
    }
    for name in order:
        apply(bench, updates[name])
    assert bench.state("it") == "COMPLETED"
    assert bench.state("child") == "READY"
    launch = bench.launch(claim)
    assert [entry["state"] for entry in launch["state_history"]][-1] == "COMPLETED"
    assert (launch["host"], launch["launch_dir"]) == ("worker", "/jobs/here")


def test_an_older_attempt_is_refused_and_told_to_stop(bench: Workbench, claim: Claim) -> None:
    bench.publish(claim, attempt=2)
    assert bench.updates.finish(finished(claim, attempt=1)) is None
    assert bench.updates.start(started(claim, attempt=1)) is Verdict.UNWANTED
    assert bench.updates.ping(ping(claim, attempt=1)) is Verdict.UNWANTED
    assert bench.updates.release(released(claim, attempt=1)) is Verdict.STALE
    assert bench.state("it") == "RESERVED"
    assert bench.updates.finish(finished(claim, attempt=2)) == "COMPLETED"


def test_given_back_is_as_if_never_started(bench: Workbench, claim: Claim) -> None:
    before = bench.launch(claim)
    bench.updates.start(started(claim))
    assert bench.updates.release(released(claim)) is Verdict.APPLIED
    assert bench.state("it") == "RESERVED"
    after = bench.launch(claim)
    assert (after["state"], after["time_start"]) == ("RESERVED", None)
    assert after["state_history"] == before["state_history"]
    bench.updates.start(started(claim))
    assert bench.updates.finish(finished(claim)) == "COMPLETED"


def test_a_ping_notes_time_checkpoint_and_trackers(bench: Workbench, claim: Claim) -> None:
    bench.updates.start(started(claim))
    checkpoint = {"_task_n": 1}
    verdict = bench.updates.ping(ping(claim, checkpoint=checkpoint, launch_dir="/elsewhere"))
    assert verdict is Verdict.APPLIED
    launch = bench.launch(claim)
    assert launch["state_history"][-1]["checkpoint"] == checkpoint
    assert launch["launch_dir"] == "/elsewhere"


@pytest.mark.parametrize("command", ["defuse_fw", "rerun_fw", "delete_wf"])
def test_what_was_taken_away_is_not_wanted(
    bench: Workbench, claim: Claim, launchpad: LaunchPad, command: str
) -> None:
    bench.updates.start(started(claim))
    getattr(launchpad, command)(claim.fw_id)
    assert bench.updates.ping(ping(claim)) is Verdict.UNWANTED
    assert bench.updates.start(started(claim)) is Verdict.UNWANTED
    bench.updates.finish(finished(claim))
    expected = {"defuse_fw": "DEFUSED", "rerun_fw": "READY"}
    if command in expected:
        assert bench.state("it") == expected[command]


def test_a_paused_one_is_not_wanted_and_stays_as_it_was(
    bench: Workbench, claim: Claim, launchpad: LaunchPad
) -> None:
    launchpad.pause_fw(claim.fw_id)
    assert bench.updates.start(started(claim)) is Verdict.UNWANTED
    assert bench.launch(claim)["state"] == "RESERVED"
    launchpad.resume_fw(claim.fw_id)
    assert bench.state("it") == "RESERVED"


def test_after_a_reset_an_old_update_does_not_end_a_new_launch(
    bench: Workbench, claim: Claim, launchpad: LaunchPad
) -> None:
    launchpad.reset("", require_password=False)
    parent, child = firework("new"), firework("child")
    launchpad.add_wf(Workflow([parent, child], {parent: [child]}))
    [fresh] = bench.claim()
    assert fresh.launch_id == claim.launch_id
    assert fresh.job_id != claim.job_id
    assert bench.updates.start(started(claim)) is Verdict.UNWANTED
    assert bench.updates.finish(finished(claim)) is None
    assert bench.state("new") == "RESERVED"
    assert bench.updates.finish(finished(fresh)) == "COMPLETED"


BAD_ACTIONS = {
    "mod_spec of no meaning": FWAction(mod_spec=[{"_no_such_thing": {"a": 1}}]).to_dict(),
    "children that are not there": {**FWAction().to_dict(), "append_wfs": [{"workflow": 1}]},
}


@pytest.mark.parametrize("case", BAD_ACTIONS)
def test_an_action_that_cannot_be_applied_fizzles_and_leaves_no_lock(
    bench: Workbench, claim: Claim, case: str
) -> None:
    assert bench.updates.finish(finished(claim, action=BAD_ACTIONS[case])) == "FIZZLED"
    assert bench.launchpad.workflows.count_documents({"locked": True}) == 0
    assert bench.state("it") == "FIZZLED"
    assert bench.state("child") == "WAITING"
    assert bench.launch(claim)["action"]["stored_data"]["_exception"]["_stacktrace"]


@pytest.mark.parametrize("result", [2**70, "x" * 17_000_000])
def test_a_result_that_mongodb_cannot_hold_is_an_error_and_changes_nothing(
    bench: Workbench, claim: Claim, result: Any
) -> None:
    with pytest.raises((OverflowError, InvalidDocument)):
        bench.updates.finish(finished(claim, action=FWAction(stored_data={"result": result})))
    assert bench.state("it") == "RESERVED"


@pytest.mark.parametrize("state", ["COMPLETED", "FIZZLED"])
def test_an_end_in_a_workflow_that_fireworks_cannot_refresh_is_an_end_all_the_same(
    bench: Workbench, claim: Claim, state: State, caplog: pytest.LogCaptureFixture
) -> None:
    bench.launchpad.fireworks.update_one({"name": "child"}, {"$unset": {"spec._tasks": ""}})
    assert bench.updates.finish(finished(claim, state=state)) == "FIZZLED"
    assert bench.state("it") == "FIZZLED"
    assert bench.launch(claim)["state"] == "FIZZLED"
    assert bench.launchpad.workflows.count_documents({"locked": True}) == 0
    assert "Firework 2 cannot be refreshed" in caplog.text
    assert "Traceback" not in caplog.text


def test_the_end_of_a_launch_that_was_rerun_does_not_count(
    bench: Workbench, claim: Claim, launchpad: LaunchPad
) -> None:
    bench.updates.start(started(claim))
    launchpad.rerun_fw(claim.fw_id)
    assert bench.updates.finish(finished(claim)) is None
    assert bench.state("it") == "READY"


def test_the_same_end_again_does_not_refresh_again(
    bench: Workbench, claim: Claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert bench.updates.finish(finished(claim)) == "COMPLETED"
    monkeypatch.setattr(bench.store, "refresh", lambda _: pytest.fail("refreshed"))
    assert bench.updates.finish(finished(claim)) is None


def test_an_action_that_makes_a_child_too_large_fizzles(
    bench: Workbench, launchpad: LaunchPad
) -> None:
    parent, child = firework("it"), firework("child", big="x" * 9_000_000)
    launchpad.add_wf(Workflow([parent, child], {parent: [child]}))
    [claim] = bench.claim()
    action = FWAction(update_spec={"more": "x" * 9_000_000})
    assert bench.updates.finish(finished(claim, action=action)) == "FIZZLED"
    assert (bench.state("it"), bench.state("child")) == ("FIZZLED", "WAITING")
    assert launchpad.workflows.count_documents({"locked": True}) == 0


def test_the_state_is_told_even_when_the_workflow_was_busy_first(
    bench: Workbench, claim: Claim, launchpad: LaunchPad, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dispatcher.set_aside.BUSY_SECONDS", 0.0)
    launchpad.workflows.update_one({}, {"$set": {"locked": True}})
    with pytest.raises(WorkflowBusyError):
        bench.updates.finish(finished(claim, state="FIZZLED", action=FWAction()))
    launchpad.workflows.update_one({}, {"$unset": {"locked": True}})
    assert bench.updates.finish(finished(claim, state="FIZZLED")) == "FIZZLED"
    assert bench.state("it") == "FIZZLED"


def test_a_duplicate_shares_the_launch_of_the_one_before(
    bench: Workbench, launchpad: LaunchPad
) -> None:
    spec = {"_dupefinder": {"_fw_name": "DupeFinderExact"}}
    launchpad.add_wf(firework("one", **spec))
    [claim] = bench.claim()
    bench.updates.start(started(claim))
    launchpad.add_wf(firework("two", **spec))
    assert bench.claim() == []
    assert bench.updates.finish(finished(claim)) == "COMPLETED"
    assert (bench.state("one"), bench.state("two")) == ("COMPLETED", "COMPLETED")
    assert launchpad.launches.count_documents({"state": "COMPLETED"}) == 1


def test_a_duplicable_firework_that_cannot_be_loaded_stops_no_other(
    bench: Workbench, launchpad: LaunchPad
) -> None:
    spec = {"_dupefinder": {"_fw_name": "DupeFinderExact"}}
    launchpad.add_wf(firework("bad", **spec))
    task = {"_fw_name": "{{no.such.module.Task}}"}
    launchpad.fireworks.update_one({"name": "bad"}, {"$set": {"spec._tasks": [task]}})
    launchpad.add_wf(firework("good"))
    assert [claim.firework["name"] for claim in bench.claim() if claim.firework] == ["good"]
    assert bench.state("bad") in ("READY", "FIZZLED")


def test_a_ping_makes_up_for_a_start_that_was_lost(bench: Workbench, claim: Claim) -> None:
    assert bench.updates.ping(ping(claim)) is Verdict.STALE
    assert bench.state("it") == "RESERVED"
    told = ping(claim, host="worker", ip="10.0.0.1", launch_dir="/jobs/here")
    assert bench.updates.ping(told) is Verdict.APPLIED
    assert bench.state("it") == "RUNNING"
    launch = bench.launch(claim)
    assert (launch["host"], launch["launch_dir"]) == ("worker", "/jobs/here")
