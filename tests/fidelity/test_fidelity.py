"""Portfire leaves the LaunchPad as `rlaunch rapidfire` does, behaviour by behaviour."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fireworks import Firework, FWorker, ScriptTask, Workflow
from fireworks.user_objects.dupefinders.dupefinder_exact import DupeFinderExact

from tests.fidelity import tasks
from tests.fidelity.conftest import Pair, make_pair
from tests.fidelity.normalise import Document, differences
from tests.fidelity.scenarios import SCENARIOS, Make, Scenario
from tests.services import session
from tests.services.mongodb import MongoAddress, launchpads


@dataclass(frozen=True)
class Outcome:
    """All scenarios, run together once by each runner."""

    theirs: dict[str, Document]
    ours: dict[str, Document]
    states: dict[str, str]
    exit_code: int


@pytest.fixture(scope="module")
def outcome(mongodb: MongoAddress, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    def run() -> dict[str, Any]:
        with launchpads(mongodb) as make_launchpad:
            pair = make_pair(make_launchpad, tmp_path_factory.mktemp("scenarios"))
            for scenario in SCENARIOS:
                pair.add(scenario.build)
            code = pair.run()
            theirs, ours = pair.documents()
            states = pair.states()
        return {"theirs": theirs, "ours": ours, "states": states, "exit_code": code}

    # One run for the whole session, whichever worker comes first.
    return Outcome(**session.shared("fidelity", run))


#: Of these FireWorks discards the action and clears the launch's checkpoint, while its ping thread
#: may be writing that back: with rapidfire it is there or not, by chance.
_DISCARDED_ACTIONS = {
    "a_task_that_returns_no_action",
    "an_action_with_keys_that_are_not_text",
    "an_action_with_a_number_over_64_bits",
}
_PUT_BACK = re.compile(r"/state_history/\d+/checkpoint: only theirs: ")


@pytest.mark.parametrize("scenario", SCENARIOS, ids=[scenario.name for scenario in SCENARIOS])
def test_the_launchpad_is_as_rapidfire_leaves_it(outcome: Outcome, scenario: Scenario) -> None:
    own = {f"{scenario.name}.{name}": state for name, state in scenario.states.items()}
    assert _of(scenario, outcome.states) == own
    _assert_same(
        _documents_of(scenario, outcome.ours),
        _documents_of(scenario, outcome.theirs),
        except_for=_PUT_BACK if scenario.name in _DISCARDED_ACTIONS else None,
    )


def test_failed_jobs_make_the_exit_code_1(outcome: Outcome) -> None:
    assert outcome.exit_code == 1


def test_higher_priority_runs_first(pair: Pair) -> None:
    fw = Make("priority")
    for firework in [fw(f"p{p}", _priority=p) for p in (2, 5, 1, 4)] + [fw("none")]:
        pair.add(partial(_alone, firework))
    pair.run(threads=1)
    theirs, ours = pair.orders()
    assert theirs == [f"priority.{name}" for name in ("p5", "p4", "p2", "p1", "none")]
    assert ours == theirs
    _assert_equal(pair)


@pytest.mark.parametrize(
    ("category", "ran"),
    [("gpu", {"gpu"}), (["gpu", "io"], {"gpu", "io"}), ("__none__", {"none", "mine"})],
)
def test_a_fworker_runs_its_categories_only(
    pair: Pair, category: str | list[str], ran: set[str]
) -> None:
    fw = Make("category")
    pair.add(
        lambda _: Workflow(
            [
                fw("gpu", _category="gpu"),
                fw("io", _category="io"),
                fw("none"),
                fw("mine", _fworker="this one"),
                fw("other", _fworker="another one"),
            ],
            name="category",
        )
    )
    pair.run(FWorker("this one", category=category))
    states = pair.states()
    assert {name for name, state in states.items() if state == "COMPLETED"} == {
        f"category.{name}" for name in ran
    }
    _assert_equal(pair)


def test_a_fworker_runs_what_its_query_matches_and_passes_its_environment(pair: Pair) -> None:
    fw = Make("query")
    remember = tasks.Remember(keys=["_fw_env", "size"])
    pair.add(
        lambda _: Workflow([fw(f"size{n}", remember, size=n) for n in (1, 2, 3)], name="query")
    )
    pair.run(FWorker("sized", query={"spec.size": {"$gte": 2}}, env={"scratch": "/s", "n": 4}))
    assert pair.states()["query.size1"] == "READY"
    _assert_equal(pair)


def test_preserve_fworker_keeps_children_on_the_fworker_of_their_parent(pair: Pair) -> None:
    fw = Make("preserve")
    parent = fw("parent", _preserve_fworker=True)
    child = fw("child", tasks.Remember(keys=["_fworker"]), parents=[parent])
    pair.add(lambda _: Workflow([parent, child], name="preserve"))
    pair.run(FWorker("the first"))
    _assert_equal(pair)
    assert pair.documents()[1]["firework preserve.child"]["spec"]["_fworker"] == "the first"


def test_rerun_fws_runs_a_firework_and_its_children_again(pair: Pair) -> None:
    fw = Make("rerun")
    a = fw("a", tasks.Act(update_spec={"told": 1}, stored_data={"x": 1}))
    b = fw("b", tasks.Remember(keys=["told"]), parents=[a])
    pair.add(lambda _: Workflow([a, b, fw("apart")], name="rerun"))
    pair.run()
    pair.lpad("rerun_fws", "rerun.a")
    assert pair.states() == {"rerun.a": "READY", "rerun.b": "WAITING", "rerun.apart": "COMPLETED"}
    pair.run()
    _assert_equal(pair)
    assert "launch 2 of rerun.b" in pair.documents()[0]


def test_a_rerun_firework_that_fizzled_can_complete(pair: Pair) -> None:
    def build(directory: Path) -> Workflow:
        a = Firework([tasks.FailOnce(flag=str(directory / "flag"))], name="a")
        return Workflow([a, Firework([tasks.Remember(keys=[])], name="b", parents=[a])], name="w")

    pair.add(build)
    pair.run()
    pair.lpad("rerun_fws", "a")
    assert pair.run() == 0
    assert pair.states() == {"a": "COMPLETED", "b": "COMPLETED"}
    _assert_equal(pair)


@pytest.mark.parametrize("mode", ["--copy-data", "--previous-dir"])
def test_task_level_recovery_goes_on_with_the_task_that_failed(pair: Pair, mode: str) -> None:
    def build(directory: Path) -> Workflow:
        steps = [
            ScriptTask.from_str("echo made >made.txt"),
            tasks.Act(stored_data={"kept": True}, update_spec={"told": 1}),
            tasks.FailOnce(flag=str(directory / "flag")),
            tasks.RememberFile(file="made.txt"),
        ]
        a = Firework(steps, name="a")
        b = Firework([tasks.Remember(keys=["told"])], name="b", parents=[a])
        return Workflow([a, b], name="w")

    pair.add(build)
    pair.run()
    pair.lpad("rerun_fws", "a", options=("--task-level", mode))
    pair.run()
    assert pair.states() == {"a": "COMPLETED", "b": "COMPLETED"}
    _assert_equal(pair)
    stored = pair.documents()[1]["launch 2 of a"]["action"]["stored_data"]
    assert stored["made.txt"] == "made\n"


@pytest.mark.parametrize(
    ("stop", "stopped", "go_on"),
    [("defuse_fws", "DEFUSED", "reignite_fws"), ("pause_fws", "PAUSED", "resume_fws")],
)
def test_a_stopped_firework_waits_until_it_may_go_on(
    pair: Pair, stop: str, stopped: str, go_on: str
) -> None:
    fw = Make("stop")
    a = fw("a")
    b = fw("b", parents=[a])
    pair.add(lambda _: Workflow([a, b, fw("c", parents=[b]), fw("ready")], name="stop"))
    pair.lpad(stop, "stop.b", "stop.ready")
    pair.run()
    assert pair.states() == {
        "stop.a": "COMPLETED",
        "stop.b": stopped,
        "stop.c": "WAITING",
        "stop.ready": stopped,
    }
    _assert_equal(pair)
    pair.lpad(go_on, "stop.b", "stop.ready")
    pair.run()
    assert set(pair.states().values()) == {"COMPLETED"}
    _assert_equal(pair)


def test_defuse_wflows_and_archive_wflows_leave_a_workflow_alone(pair: Pair) -> None:
    for name in ("defused", "archived", "left"):
        pair.add(partial(_alone, Make(name)("a")))
    pair.lpad("defuse_wflows", "defused.a")
    pair.lpad("archive_wflows", "archived.a")
    pair.run()
    assert pair.states() == {
        "defused.a": "PAUSED",  # so FireWorks' defuse_wf does it
        "archived.a": "ARCHIVED",
        "left.a": "COMPLETED",
    }
    _assert_equal(pair)


def test_duplicates_that_are_ready_at_once_run_once(pair: Pair) -> None:
    for name in ("one", "two", "three"):
        pair.add(partial(_alone, Make(name)("a", _dupefinder=DupeFinderExact(), same=True)))
    pair.run()
    assert set(pair.states().values()) == {"COMPLETED"}
    for runner in pair.both():  # which of them runs is nobody's promise
        assert runner.launchpad.launches.count_documents({}) == 1
        assert runner.launchpad.workflows.count_documents({"state": "COMPLETED"}) == 3


def test_what_needs_the_database_gets_a_clear_error(pair: Pair) -> None:
    fw = Make("ask")
    pair.add(lambda _: Workflow([fw("a", tasks.AskLaunchPad(), _add_launchpad_and_fw_id=True)]))
    pair.run()
    launch = pair.portfire.launchpad.launches.find_one({"state": "FIZZLED"})
    error = launch["action"]["stored_data"]["_exception"]["_stacktrace"].splitlines()[-1]
    assert "get_fw_by_id" in error
    assert "database" in error


def _assert_equal(pair: Pair) -> None:
    theirs, ours = pair.documents()
    _assert_same(ours, theirs)


def _assert_same(
    ours: dict[str, Document],
    theirs: dict[str, Document],
    except_for: re.Pattern[str] | None = None,
) -> None:
    found = differences(ours, theirs)
    if except_for is not None:
        found = [line for line in found if not except_for.search(line)]
    if found:
        pytest.fail("\n".join(found), pytrace=False)


def _alone(firework: Firework, _: Path) -> Workflow:
    return Workflow([Firework.from_dict(firework.to_dict())], name=firework.name)


def _of(scenario: Scenario, items: dict[str, str]) -> dict[str, str]:
    return {name: item for name, item in items.items() if name.startswith(f"{scenario.name}.")}


def _documents_of(scenario: Scenario, documents: dict[str, Document]) -> dict[str, Document]:
    return {
        key: document
        for key, document in documents.items()
        if key.split()[-1].split(".")[0] == scenario.name
    }
