"""What must hold when the chaos is over; each check returns what is wrong, in one line each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.chaos_jobs import Expected, runs

_SHOWN = 5


def launchpad_violations(launchpad: Any, expected: Mapping[str, Expected]) -> list[str]:
    """Every Firework COMPLETED by one launch with the right result, nothing locked or left."""
    found = list(launchpad.fireworks.find({}))
    launches = {launch["launch_id"]: launch for launch in launchpad.launches.find({})}
    wrong = [*_membership(found, expected)]
    for firework in found:
        wrong += [f"{firework['name']}: {what}" for what in _firework(firework, launches, expected)]
    owned = [launch_id for firework in found for launch_id in firework["launches"]]
    if strays := sorted(set(launches) - set(owned)):
        wrong.append(f"launches {strays[:_SHOWN]} belong to no Firework")
    return wrong + list(_workflows(launchpad, found))


def run_violations(ledger: Path, expected: Mapping[str, Expected]) -> list[str]:
    """Every job ran to its end at least once."""
    ended = runs(ledger, "ended")
    return [
        f"{name}: COMPLETED, and never ran to its end" for name in expected if name not in ended
    ]


def output_violations(store: Path, names: list[str]) -> list[str]:
    """Every job with a container has stored its file, once, and whole."""
    wrong = [
        f"{name}: its output is missing or wrong"
        for name in names
        if not (store / name).is_file() or (store / name).read_text() != f"{name}\n"
    ]
    found = [file.name for file in store.iterdir()] if store.is_dir() else []
    strange = sorted(set(found) - set(names))
    return wrong + [f"{name} is in the store, and is no output" for name in strange]


def _membership(found: list[dict[str, Any]], expected: Mapping[str, Expected]) -> Iterator[str]:
    names = Counter(firework["name"] for firework in found)
    for name in expected:
        if names[name] != 1:
            yield f"{name}: is there {names[name]} times"
    for name in names.keys() - expected.keys():
        yield f"{name}: should not be there"


def _firework(
    firework: dict[str, Any], launches: dict[int, Any], expected: Mapping[str, Expected]
) -> Iterator[str]:
    if firework["state"] != "COMPLETED":
        yield f"is {firework['state']}"
        return
    if len(firework["launches"]) != 1 or firework["archived_launches"]:
        yield f"has launches {firework['launches']}, archived {firework['archived_launches']}"
    launch, right = launches.get(firework["launches"][0]), expected.get(firework["name"])
    if launch is None or launch["state"] != "COMPLETED":
        yield "has no COMPLETED launch"
    elif right is not None:
        yield from _results(firework["spec"], launch, right)


def _results(spec: dict[str, Any], launch: dict[str, Any], right: Expected) -> Iterator[str]:
    stored = (launch["action"] or {}).get("stored_data", {}).get("value")
    if stored != right.value:
        yield f"stored {stored}, not {right.value}"
    pushed = sorted(spec.get("values", []))
    if pushed != list(right.values):
        yield f"was pushed {pushed}, not {list(right.values)}"
    if (arrivals := spec.get("arrivals", 0)) != len(right.values):
        yield f"was counted up {arrivals} times by {len(right.values)} parents"
    if missing := [key for key, value in right.updates.items() if spec.get(key) != value]:
        yield f"lacks its parents' {missing}"


def _workflows(launchpad: Any, found: list[dict[str, Any]]) -> Iterator[str]:
    states = {firework["fw_id"]: firework["state"] for firework in found}
    members: Counter[int] = Counter()
    for workflow in launchpad.workflows.find({}):
        name = workflow["name"]
        if "locked" in workflow or "locked_by" in workflow:
            yield f"{name} is locked by {workflow.get('locked_by', 'FireWorks')}"
        if workflow["state"] != "COMPLETED":
            yield f"{name} is {workflow['state']}"
        if {int(fw_id): state for fw_id, state in workflow["fw_states"].items()} != {
            fw_id: states.get(fw_id) for fw_id in workflow["nodes"]
        }:
            yield f"{name} has wrong copies of its Fireworks' states"
        members.update(workflow["nodes"])
    if members != Counter(list(states)):
        yield "Fireworks and the members of workflows differ"
    if entries := launchpad.db["portfire_journal"].count_documents({}):
        yield f"{entries} documents are left in the journal"
