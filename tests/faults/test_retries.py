"""A Firework that fails at first and may run again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fireworks import Firework, LaunchPad, ScriptTask, Workflow

from tests.faults import tasks
from tests.faults.ledger import (
    check_completed_once,
    check_consistent,
    launches_of,
    wait_for_all,
    wait_for_state,
)
from tests.faults.site import Site


def script(text: str, name: str, **spec: Any) -> Firework:
    """A Firework that runs a shell line."""
    return Firework(ScriptTask.from_str(text), name=name, spec=spec)


def shown(launchpad: LaunchPad, name: str) -> dict[str, Any]:
    """What FireWorks shows of the only launch of a Firework, without ids, times and places."""
    [launch] = launches_of(launchpad, name)
    history = [(entry["state"], sorted(entry)) for entry in launch["state_history"]]
    keys = ("state", "action", "fworker", "trackers")
    return {"history": history, "keys": sorted(launch), **{key: launch[key] for key in keys}}


def test_an_error_that_passes_leaves_a_launch_like_one_that_ran_once(
    site: Site, launchpad: LaunchPad, log: Path, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    flaky = script(f"test -e {mark} || {{ touch {mark}; exit 3; }}", "flaky", _retries={"error": 2})
    child = tasks.firework(log, "child")
    launchpad.add_wf(Workflow([flaky, child], {flaky: [child]}))
    site.start_dispatcher()
    site.start_executor()
    wait_for_all(launchpad)
    assert mark.exists()
    launchpad.add_wf(script(f"test -e {mark}", "plain"))
    wait_for_all(launchpad)
    check_completed_once(launchpad)
    assert shown(launchpad, "flaky") == shown(launchpad, "plain")


def test_an_error_that_stays_fizzles_and_tells_of_every_try(
    site: Site, launchpad: LaunchPad
) -> None:
    launchpad.add_wf(script("exit 3", "wrong"))
    site.start_dispatcher(error_retries=1)
    executor = site.start_executor()
    wait_for_state(launchpad, "wrong", "FIZZLED")
    [launch] = launches_of(launchpad, "wrong")
    stored = launch["action"]["stored_data"]
    assert "; given up after 2 attempts: 2 x error (" in stored["_message"]
    history = stored["_exception"]["_details"]["history"]
    assert [failure["cause"] for failure in history] == ["error", "error"]
    assert executor.is_alive
    check_consistent(launchpad)
