"""What a person does with `lpad` reaches running and waiting jobs."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fireworks import LaunchPad

from tests.faults import tasks
from tests.faults.ledger import check_consistent, state_of, wait_for_state
from tests.faults.site import Site
from tests.waiting import wait_until

Command = Callable[[LaunchPad, int], object]

COMMANDS: dict[str, Command] = {
    "defuse": lambda launchpad, fw_id: launchpad.defuse_fw(fw_id),
    "rerun": lambda launchpad, fw_id: launchpad.rerun_fw(fw_id),
    "delete": lambda launchpad, fw_id: launchpad.delete_wf(fw_id),
    "fizzle": lambda launchpad, _: launchpad.detect_lostruns(expiration_secs=0, fizzle=True),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_running_firework_that_is_taken_away_frees_its_slot_within_seconds(
    site: Site, launchpad: LaunchPad, log: Path, tmp_path: Path, command: str
) -> None:
    launchpad.add_wf(tasks.firework(log, "job", gate=tmp_path / "gate"))
    site.start_dispatcher()
    site.watch()
    site.start_executor(threads=1)
    wait_for_state(launchpad, "job", "RUNNING")
    fw_id = launchpad.fireworks.find_one({"name": "job"})["fw_id"]
    COMMANDS[command](launchpad, fw_id)
    began = time.monotonic()
    site.event("job.cancelled")
    launchpad.add_wf(tasks.firework(log, "next"))
    if command != "rerun":
        wait_for_state(launchpad, "next", "COMPLETED")
        assert time.monotonic() - began < 10
        assert "job" not in tasks.ended(log)
    else:
        (tmp_path / "gate").touch()
        wait_for_state(launchpad, "job", "COMPLETED")
        wait_for_state(launchpad, "next", "COMPLETED")
        assert tasks.ended(log).count("job") == 1
    if command == "defuse":
        assert state_of(launchpad, "job") == "DEFUSED"
    check_consistent(launchpad)


@pytest.mark.parametrize("executors_before", [True, False])
def test_a_paused_firework_does_not_run_until_it_is_resumed(
    site: Site, launchpad: LaunchPad, log: Path, tmp_path: Path, executors_before: bool
) -> None:
    gate = tmp_path / "gate"
    dispatcher = site.start_dispatcher()
    if executors_before:
        site.start_executor(threads=1)
        launchpad.add_wf(tasks.firework(log, "first", gate=gate))
        wait_for_state(launchpad, "first", "RUNNING")
    launchpad.add_wf(tasks.firework(log, "paused", seconds=2.0))
    wait_for_state(launchpad, "paused", "RESERVED")
    fw_id = launchpad.fireworks.find_one({"name": "paused"})["fw_id"]
    launchpad.pause_fw(fw_id)
    wait_until(lambda: f"cancelled job fw{fw_id}-" in dispatcher.said, what="the cancel")
    gate.touch()
    if not executors_before:
        # This one has not heard of the cancel: it begins, asks, and is told to stop.
        site.start_executor(threads=1)
    launchpad.add_wf(tasks.firework(log, "last"))
    wait_for_state(launchpad, "last", "COMPLETED")
    assert "paused" not in tasks.ended(log)
    assert state_of(launchpad, "paused") == "PAUSED"
    launchpad.resume_fw(fw_id)
    wait_for_state(launchpad, "paused", "COMPLETED")
    assert tasks.ended(log).count("paused") == 1
    check_consistent(launchpad)
