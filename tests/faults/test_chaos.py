"""Everything is killed again and again while jobs run; the long form is benchmarks.chaos."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import chaos, chaos_checks
from benchmarks.chaos_jobs import Jobs
from benchmarks.chaos_run import Outcome, Plan, run


@pytest.mark.alone
@pytest.mark.timeout(240)
def test_nothing_is_lost_or_done_twice_whatever_is_killed(tmp_path: Path) -> None:
    plan = Plan(
        jobs=150,
        seed=5,
        job_seconds=0.1,
        seconds_between_kills=1.5,
        # On a slow machine they would be killed before they have started.
        most_kills=10,
        broker_restarts=1,
        mongodb_restarts=1,
        timeout=180.0,
    )
    outcome = run(plan, tmp_path / "chaos")
    for log in (tmp_path / "chaos").glob("*.log"):
        # pytest shows this when the test has failed.
        print(f"----- {log.name}\n{log.read_text(errors='replace')[-20_000:]}")  # noqa: T201
    assert outcome.violations == []
    assert outcome.fireworks == 165
    assert outcome.kills["broker"] == outcome.kills["MongoDB"] == 1
    assert outcome.kills["dispatcher"] + outcome.kills["executor"] > 0


class _Documents(list[dict[str, Any]]):
    """A collection of which everything is asked for."""

    def find(self, _: object) -> list[dict[str, Any]]:
        return self

    def count_documents(self, _: object) -> int:
        return len(self)


class _LaunchPad:
    """What a run of ten jobs leaves in a LaunchPad when all goes well."""

    def __init__(self, jobs: Jobs) -> None:
        expected = jobs.expected()
        self.fireworks, self.launches, self.workflows = _Documents(), _Documents(), _Documents()
        for fw_id, (name, right) in enumerate(expected.items(), 1):
            values = list(right.values)
            spec = {"values": values, "arrivals": len(values), **right.updates}
            firework = {"fw_id": fw_id, "name": name, "spec": spec, "state": "COMPLETED"}
            self.fireworks.append({**firework, "launches": [fw_id], "archived_launches": []})
            action = {"stored_data": {"value": right.value}}
            self.launches.append({"launch_id": fw_id, "state": "COMPLETED", "action": action})
        ids = [firework["fw_id"] for firework in self.fireworks]
        states = {str(fw_id): "COMPLETED" for fw_id in ids}
        workflow = {"name": "workflow 0", "nodes": ids, "fw_states": states, "state": "COMPLETED"}
        self.workflows.append(workflow)
        self.db = {"portfire_journal": _Documents()}


@pytest.fixture
def jobs(tmp_path: Path) -> Jobs:
    return Jobs(30, tmp_path, 0.0)


@pytest.fixture
def launchpad_after(jobs: Jobs) -> _LaunchPad:
    return _LaunchPad(jobs)


def violations(launchpad: _LaunchPad, jobs: Jobs) -> list[str]:
    return chaos_checks.launchpad_violations(launchpad, jobs.expected())


def test_a_clean_end_violates_nothing(launchpad_after: _LaunchPad, jobs: Jobs) -> None:
    assert violations(launchpad_after, jobs) == []


@pytest.mark.parametrize(
    ("collection", "place", "change", "expected"),
    [
        ("fireworks", 5, {"state": "RUNNING"}, "is RUNNING"),
        ("fireworks", 5, {"launches": [6, 1]}, "has launches [6, 1]"),
        ("fireworks", 5, {"name": "job-0"}, "job-0: is there 2 times"),
        ("fireworks", -1, {"spec": {}}, "was pushed [], not"),
        ("launches", 5, {"state": "FIZZLED"}, "has no COMPLETED launch"),
        ("launches", 5, {"action": None}, "stored None"),
        ("launches", 5, {"launch_id": 999}, "launches [999] belong to no Firework"),
        ("workflows", 0, {"locked": True}, "is locked by FireWorks"),
        ("workflows", 0, {"state": "RUNNING"}, "workflow 0 is RUNNING"),
        ("workflows", 0, {"nodes": [1]}, "the members of workflows differ"),
    ],
)
def test_a_violation_is_found(
    launchpad_after: _LaunchPad,
    jobs: Jobs,
    collection: str,
    place: int,
    change: dict[str, Any],
    expected: str,
) -> None:
    getattr(launchpad_after, collection)[place].update(change)
    assert expected in "\n".join(violations(launchpad_after, jobs))


def test_a_result_that_was_applied_twice_is_found(launchpad_after: _LaunchPad, jobs: Jobs) -> None:
    spec = launchpad_after.fireworks[-1]["spec"]
    spec["arrivals"] += 1
    spec["values"].append(spec["values"][0])
    found = "\n".join(violations(launchpad_after, jobs))
    assert "was pushed" in found
    assert "was counted up 4 times by 3 parents" in found


def test_a_violation_ends_the_command_with_1(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(chaos, "run", lambda *_: Outcome(fireworks=1, violations=["job-0: lost"]))
    assert chaos.main(["--no-undisturbed", "--directory", str(tmp_path)]) == 1
    assert "VIOLATED: job-0: lost" in capsys.readouterr().out
