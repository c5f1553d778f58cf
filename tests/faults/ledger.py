"""What a LaunchPad must look like after any fault."""

from __future__ import annotations

from collections import Counter
from typing import Any

from fireworks import LaunchPad

from tests.waiting import wait_until


def states(launchpad: LaunchPad) -> dict[str, str]:
    """State of each Firework, by name."""
    return {fw["name"]: fw["state"] for fw in launchpad.fireworks.find({})}


def state_of(launchpad: LaunchPad, name: str) -> str:
    """State of one Firework."""
    return str(launchpad.fireworks.find_one({"name": name})["state"])


def launches_of(launchpad: LaunchPad, name: str) -> list[dict[str, Any]]:
    """Launch documents of one Firework, archived ones included."""
    fw_id = launchpad.fireworks.find_one({"name": name})["fw_id"]
    return list(launchpad.launches.find({"fw_id": fw_id}).sort("launch_id", 1))


def wait_for_state(launchpad: LaunchPad, name: str, state: str, timeout: float = 30.0) -> None:
    """Until a Firework has a state, and its workflow knows it."""

    def has_it() -> bool:
        fw_id = launchpad.fireworks.find_one({"name": name})["fw_id"]
        known = {"nodes": fw_id, f"fw_states.{fw_id}": state, "locked": {"$exists": False}}
        return state_of(launchpad, name) == state and bool(launchpad.workflows.find_one(known))

    wait_until(has_it, timeout, f"{name} to be {state}")


def wait_for_all(launchpad: LaunchPad, timeout: float = 45.0) -> None:
    """Until all Fireworks are COMPLETED, and the workflows know it."""

    def completed() -> bool:
        workflows = list(launchpad.workflows.find({}, {"state": 1, "locked": 1}))
        return all(
            workflow["state"] == "COMPLETED" and "locked" not in workflow for workflow in workflows
        )

    try:
        wait_until(completed, timeout, "all workflows to be COMPLETED")
    except AssertionError as exc:
        counts = dict(Counter(states(launchpad).values()))
        raise AssertionError(f"{exc}; Fireworks: {counts}") from None


def check_completed_once(launchpad: LaunchPad) -> None:
    """Every Firework COMPLETED by exactly one launch; nothing left over, nothing locked."""
    fireworks = list(launchpad.fireworks.find({}))
    for fw in fireworks:
        assert fw["state"] == "COMPLETED", fw["name"]
        assert len(fw["launches"]) == 1, fw["name"]
        assert fw["archived_launches"] == [], fw["name"]
    launches = Counter(launch["fw_id"] for launch in launchpad.launches.find({}))
    assert launches == {fw["fw_id"]: 1 for fw in fireworks}
    assert launchpad.launches.count_documents({"state": "COMPLETED"}) == len(fireworks)
    check_consistent(launchpad)


def check_consistent(launchpad: LaunchPad) -> None:
    """The workflows' copies of the states are right, no Firework is outside of a workflow."""
    known = {fw["fw_id"]: fw["state"] for fw in launchpad.fireworks.find({})}
    members: set[int] = set()
    for workflow in launchpad.workflows.find({}):
        assert "locked" not in workflow
        assert set(workflow["nodes"]) == {int(fw_id) for fw_id in workflow["fw_states"]}
        for fw_id, state in workflow["fw_states"].items():
            assert known[int(fw_id)] == state
        members |= set(workflow["nodes"])
    assert members == set(known)
    assert launchpad.db["portfire_journal"].count_documents({}) == 0
