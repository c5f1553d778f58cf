"""`portfire dispatcher status` as a user runs it, beside dispatchers that live, and after one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fireworks import LaunchPad

from messaging.pubsub import Outgoing, PubSub
from tests.commands.programs import Ended, portfire
from tests.faults import tasks
from tests.faults.site import Site
from tests.services.mongodb import free_port
from tests.waiting import wait_until


@pytest.fixture
def site(launchpad: LaunchPad, tmp_path: Path) -> Iterator[Site]:
    with Site(tmp_path, launchpad) as site:
        yield site


def _status(site: Site, *flags: str) -> Ended:
    file = str(site.launchpad_file)
    return portfire(
        site.directory, "dispatcher", "status", "-l", file, "--prefix", "faults", *flags
    )


def _found(site: Site, *flags: str) -> dict[str, Any]:
    ended = _status(site, "--json", *flags)
    assert ended.errors == ""
    found: dict[str, Any] = json.loads(ended.output)
    # What it says of a living dispatcher is what the exit code says.
    assert ended.code == (0 if any(each["alive"] for each in found["dispatchers"]) else 1)
    return found


def test_it_shows_what_runs_waits_and_went_wrong(site: Site, launchpad: LaunchPad) -> None:
    gate, log = site.directory / "gate", site.directory / "log"
    launchpad.add_wf(tasks.firework(log, "first", gate=gate))
    site.start_broker()
    site.start_dispatcher(max_in_flight=2)
    site.start_executor(threads=1)
    wait_until(lambda: tasks.began(log), what="the job")
    launchpad.add_wf(tasks.firework(log, "second"))
    with PubSub("portfire-local", site.address) as pubsub:
        pubsub.publish(site.names.updates, [Outgoing(b"no update")])

    def told() -> dict[str, Any] | None:
        # A dispatcher reports with each of its beats, every 5 s.
        [member] = launchpad.db.portfire_dispatchers.find({"pid": {"$gt": 0}})
        report = member.get("report", {})
        return member if report.get("in_flight") == 2 and report["errors"] else None

    wait_until(told, what="a report")
    executors = launchpad.db.portfire_executors
    wait_until(lambda: executors.count_documents({"busy": 1}), what="the executor's heartbeat")
    found = _found(site)
    pool = found["pools"]["default"]
    assert (pool["running"], pool["reserved"], pool["unpublished"]) == (1, 1, 0)
    assert 0 < pool["oldest_claim"] < 300
    [dispatcher] = found["dispatchers"]
    assert (dispatcher["alive"], dispatcher["keeps_house"]) == (True, True)
    assert (dispatcher["in_flight"], dispatcher["limit"]) == (2, 2)
    [executor] = found["executors"]
    assert (executor["alive"], executor["busy"], executor["slots"]) == (True, 1, 1)
    assert "dropped message" in found["last_errors"][-1]["text"]
    assert found["fireworks"] == {"RESERVED": 1, "RUNNING": 1}
    ended = _status(site)
    assert (ended.code, ended.errors) == (0, "")
    for said in (
        "1 RESERVED, 1 RUNNING",
        "pool default: 1 waiting, 1 running, oldest claim ",
        "keeps house: 2 of 2 in flight",
        "1 of 1 slots busy",
        "dropped message",
    ):
        assert said in ended.output
    assert _found(site, "--pool", "gpu")["executors"] == []


def test_a_dispatcher_that_was_killed_is_told_from_one_that_left(
    site: Site, launchpad: LaunchPad
) -> None:
    ended = _status(site)
    assert (ended.code, ended.errors) == (1, "")
    assert "no dispatcher" in ended.output
    assert "Fireworks: none" in ended.output
    site.start_broker()
    dispatcher = site.start_dispatcher()
    seen = {"seen": {"$exists": True}}
    wait_until(lambda: launchpad.db.portfire_dispatchers.count_documents(seen), what="its beat")
    dispatcher.kill()
    ended = _status(site)
    assert (ended.code, ended.errors) == (1, "")
    assert f"process {dispatcher.process.pid} " in ended.output
    assert "dead, last heard of " in ended.output


@pytest.mark.parametrize("command", ["status", "repair"])
def test_without_mongodb_it_says_so_in_one_line(tmp_path: Path, command: str) -> None:
    port = free_port()
    (tmp_path / "lp.yaml").write_text(f"host: 127.0.0.1\nport: {port}\nname: nobody\n")
    ended = portfire(tmp_path, "dispatcher", command, "-l", "lp.yaml")
    assert (ended.code, ended.output) == (1, "")
    assert f"127.0.0.1:{port}" in ended.error_line
