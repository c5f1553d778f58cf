"""`portfire gce keep` as its users type it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fireworks import Firework, LaunchPad, PyTask, Workflow

from fleet.keeping.demand import LaunchPadDemand
from fleet.keeping.fleet import KeptFleet
from fleet.keeping.sight import Demand
from tests.fleet.conftest import Command
from tests.services.gce import FakeGce

KEEP = ("keep", "sim", "--max", "3", "-f", "fireworker", "--machine-type", "e2-standard-2")
QUICK = ("--interval", "0.05", "--quiet", "0", "--worth", "0")
ZONE = ("--zone", "europe-west4-a")


@pytest.fixture
def file(launchpad: LaunchPad, tmp_path: Path) -> str:
    """The my_launchpad.yaml of a LaunchPad with five jobs that are READY."""
    jobs = [Firework([PyTask(func="time.sleep", args=[0])]) for _ in range(5)]
    launchpad.add_wf(Workflow(jobs))
    path = tmp_path / "my_launchpad.yaml"
    launchpad.to_file(str(path))
    return str(path)


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the LaunchPad says, look by look; at the end that all is over."""
    looks: list[Any] = []

    def look(_self: object) -> Demand:
        now = looks.pop(0) if looks else {}
        if isinstance(now, BaseException):
            raise now
        return Demand(**now)

    monkeypatch.setattr(LaunchPadDemand, "look", look)
    monkeypatch.setattr("commands.gce_keep._DISMISSAL_SECONDS", 0.1)
    return looks


def test_a_dry_run_prints_what_would_be_sent_first(
    gce: FakeGce, command: Command, file: str
) -> None:
    ended = command(*KEEP, *ZONE, "--spot", "-m", "pool=gpu", "-l", file, "--dry-run")
    assert ended.code == 0, ended.errors
    requests = ended.output.replace("}\n{", "}\n\0{").split("\0")
    bodies = [json.loads(request)["body"] for request in requests]
    # Five jobs, two at a time on each.
    assert [body["name"] for body in bodies] == ["sim-0", "sim-1", "sim-2"]
    assert {body["scheduling"]["provisioningModel"] for body in bodies} == {"SPOT"}
    assert bodies[0]["metadata"]["items"] == [{"key": "pool", "value": "gpu"}]
    assert gce.called("instances.insert") == []


def test_it_keeps_a_fleet_until_the_work_is_done_and_leaves_none(
    gce: FakeGce, command: Command, file: str, work: list[Any]
) -> None:
    work += [{"ready": 5}, {"ready": 5}]
    ended = command(*KEEP, *QUICK, "--region", "europe-west4", "-l", file, "--json")
    assert ended.code == 0, ended.errors
    record = json.loads(ended.output)
    assert (record["made_on_demand"], record["most"]) == (3, 3)
    assert gce.names == []


@pytest.mark.parametrize(("on_exit", "left"), [("delete", 0), ("keep", 3)])
def test_interrupted_it_deletes_or_keeps_the_vms(
    gce: FakeGce, command: Command, file: str, work: list[Any], on_exit: str, left: int
) -> None:
    work += [{"ready": 5}, {"ready": 5}, KeyboardInterrupt()]
    ended = command(*KEEP, *QUICK, *ZONE, "-l", file, "--on-exit", on_exit)
    assert ended.code == 130
    assert len(gce.names) == left
    # What is left is found, by its labels, and swept.
    swept = command("keep", "sim", "--sweep", "--yes")
    assert swept.code == 0
    assert len(swept.output.splitlines()) == left
    assert gce.names == []


def test_an_interrupt_while_vms_are_dismissed_leaves_none(
    gce: FakeGce,
    command: Command,
    file: str,
    work: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(_self: object, _patience: float) -> list[str]:
        assert len(gce.names) == 3
        raise KeyboardInterrupt

    monkeypatch.setattr(KeptFleet, "dismiss", interrupted)
    work += [{"ready": 5}]
    ended = command(*KEEP, *QUICK, *ZONE, "-l", file)
    assert ended.code == 130
    assert gce.names == []


def test_a_sweep_without_a_terminal_wants_to_be_told_yes(gce: FakeGce, command: Command) -> None:
    command("create", "sim", *ZONE, "-f", "fireworker", "-c2")
    refused = command("keep", "sim", "--sweep")
    assert refused.code == 2
    assert "--yes" in refused.error_line
    assert len(gce.names) == 2


def test_vms_that_end_again_and_again_without_a_job_end_it_with_a_remedy(
    gce: FakeGce, command: Command, file: str, work: list[Any]
) -> None:
    work += [{"ready": 9}] * 9

    def crash(vm: dict[str, Any]) -> None:
        gce.world.remove(vm["zone"].rpartition("/")[2], vm["name"])

    gce.world.on_start = crash
    ended = command(*KEEP, *QUICK, *ZONE, "-l", file)
    assert ended.code == 1
    assert "no job runs on any: see why in the serial console" in ended.errors
    assert len(gce.called("instances.insert")) == 3
    assert gce.names == []


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--zone", "europe-west4-a"), "--max N is missing"),
        (("--max", "0", *ZONE), "--max is 0"),
        (("--max", "3", "--min", "4", *ZONE), "--min is 4"),
        (("--max", "3"), "name places: --zone"),
        (("--max", "3", "--zone", "europe-west4"), "is no zone"),
        (("--max", "3", *ZONE, "--region", "europe-west4"), "not both"),
        (("--max", "3", *ZONE, "--quiet", "-1"), "--quiet is -1"),
        (("--max", "3", *ZONE, "--machine-type", "a2-highgpu-1g"), "say so by -m threads=N"),
        (("--max", "3", *ZONE, "-m", "threads=many"), "-m threads=many"),
        (("--max", "3", *ZONE, "--interval", "0"), "--interval is 0"),
        (("--max", "3", *ZONE, "-l", "nowhere.yaml"), "there is no file nowhere.yaml"),
    ],
)
def test_wrong_usage_is_one_line(
    gce: FakeGce, command: Command, flags: tuple[str, ...], words: str
) -> None:
    ended = command("keep", "sim", *flags)
    assert ended.code == 2
    assert words in ended.error_line
    assert gce.calls == []
