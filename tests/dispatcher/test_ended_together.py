"""Jobs of one workflow that end in one batch: as if FireWorks had ended them one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fireworks import Firework, FWAction, LaunchPad, Workflow
from fireworks.features.fw_report import FWReport

from tests.dispatcher.random_workflows import Outcome
from tests.dispatcher.twins import Twins
from tests.dispatcher.workbench import NOTHING, firework


@pytest.fixture
def twins(make_launchpad: Callable[[], LaunchPad]) -> Twins:
    return Twins(make_launchpad(), make_launchpad())


def _completed(**fields: Any) -> Outcome:
    return Outcome("COMPLETED", FWAction().to_dict() | fields)


def _added(name: str) -> dict[str, Any]:
    """A workflow as each executor's process makes its first: with the id -1."""
    made: dict[str, Any] = Workflow([Firework(NOTHING, name=name, fw_id=-1)]).to_dict()
    return made


def _finish(twins: Twins, outcomes: dict[str, Outcome]) -> None:
    jobs = {job.name: job for job in twins.claim(100)}
    twins.start(list(jobs.values()))
    twins.finish([(jobs[name], outcome) for name, outcome in outcomes.items()])
    twins.compare()


def test_what_several_add_is_all_there(twins: Twins) -> None:
    twins.add(Workflow([firework(name) for name in "abc"]))
    ends = {
        "a": _completed(additions=[_added("from a")]),
        "b": _completed(detours=[_added("from b")]),
        "c": _completed(
            append_wfs=[{"workflow": _added("from c"), "detour": False, "parents": []}]
        ),
    }
    _finish(twins, ends)
    assert twins.names() == ["a", "b", "c", "from a", "from b", "from c"]


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_their_order_counts(twins: Twins, order: str) -> None:
    a, b, child = firework("a"), firework("b"), firework("child")
    twins.add(Workflow([a, b, child], {a: [child], b: [child]}))
    _finish(twins, {name: _completed(mod_spec=[{"_push": {"list": name}}]) for name in order})
    assert twins.bench.firework("child")["spec"]["list"] == list(order)


def test_what_is_appended_to_one_that_ends_too_is_told_once(twins: Twins) -> None:
    twins.add(Workflow([firework("a"), firework("b")]))
    append = {"workflow": _added("new"), "detour": False, "parents": ["b"]}
    ends = {
        "a": _completed(append_wfs=[append]),
        "b": _completed(mod_spec=[{"_push": {"list": 1}}, {"_inc": {"count": 1}}]),
    }
    _finish(twins, ends)
    spec = twins.bench.firework("new")["spec"]
    assert (spec["list"], spec["count"]) == ([1], 1)


def test_duplicates_of_one_workflow_each_get_what_their_launch_added(twins: Twins) -> None:
    spec = {"_dupefinder": {"_fw_name": "DupeFinderExact"}}
    twins.add(Workflow([firework("a", **spec), firework("b", **spec)]))
    jobs = twins.claim(100)
    twins.start(jobs)
    twins.finish([(job, _completed(additions=[_added("new")])) for job in jobs])
    for launchpad in (twins.ours, twins.theirs):
        assert launchpad.fireworks.count_documents({"name": "new", "state": "READY"}) == 2
        assert len(launchpad.workflows.find_one({})["nodes"]) == 4


def test_lpad_report_counts_them(twins: Twins) -> None:
    twins.add(Workflow([firework("a"), firework("b")]))
    _finish(twins, {"a": _completed()})
    [ours], [theirs] = [
        FWReport(launchpad).get_stats(coll="fireworks", interval="years", num_intervals=1)
        for launchpad in (twins.ours, twins.theirs)
    ]
    assert ours["states"] == theirs["states"]
    assert (ours["states"]["COMPLETED"], ours["states"]["RUNNING"]) == (1, 1)


def test_what_becomes_ready_is_claimed_with_the_end_that_made_it_so(twins: Twins) -> None:
    parent, child, after = firework("parent"), firework("child"), firework("after")
    twins.add(Workflow([parent, child, after], {parent: [child], child: [after]}))
    twins.bench.claims_freed = True
    _finish(twins, {"parent": _completed()})
    assert (twins.bench.state("child"), twins.bench.state("after")) == ("RESERVED", "WAITING")
    assert list(twins.jobs) == ["child"]
    assert twins.claim(100) == []


def test_what_becomes_ready_does_not_overtake_what_was_ready_before(twins: Twins) -> None:
    parent, child = firework("parent", _priority=2), firework("child")
    twins.add(Workflow([parent, child], {parent: [child]}))
    twins.add(Workflow([firework("urgent", _priority=1)]))
    twins.bench.claims_freed = True
    [job] = twins.claim(1)
    twins.finish([(job, _completed())])
    assert twins.bench.state("child") == "READY"
    assert [job.name for job in twins.claim(1)] == ["urgent"]
    twins.compare()
