"""Two dispatchers share a LaunchPad's work; killing or stopping one loses and repeats nothing."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fireworks import LaunchPad, Workflow

from tests.faults import tasks
from tests.faults.ledger import check_completed_once, wait_for_all
from tests.faults.site import LEASE_SECONDS, REPOSITORY, Daemon, Site
from tests.waiting import wait_until

_DRIVER = str(REPOSITORY / "tests" / "faults" / "hasty_dispatcher.py")


def _start_two(site: Site, launchpad: LaunchPad) -> list[Daemon]:
    dispatchers = [site.start_dispatcher(driver=[_DRIVER], max_in_flight=40) for _ in range(2)]
    wait_until(lambda: len(_members(launchpad)) == 2, 60.0, "both dispatchers")
    return dispatchers


def _members(launchpad: LaunchPad) -> dict[int, dict[str, Any]]:
    """The members' documents by process."""
    return {
        each["pid"]: each for each in launchpad.db.portfire_dispatchers.find({"pid": {"$gt": 0}})
    }


def _housekeeper(launchpad: LaunchPad, dispatchers: list[Daemon]) -> Daemon:
    def found() -> list[Daemon]:
        office = launchpad.db.portfire_dispatchers.find_one({"losses": {"$exists": True}}) or {}
        members = _members(launchpad)
        return [
            each
            for each in dispatchers
            if members.get(each.process.pid, {}).get("instance") == office.get("instance")
        ]

    return wait_until(found, what="a housekeeper")[0]


def _bag(launchpad: LaunchPad, log: Path, size: int) -> None:
    names = [f"bag {number}" for number in range(size)]
    launchpad.bulk_add_wfs([Workflow([tasks.firework(log, name)]) for name in names])


def _some_done(launchpad: LaunchPad, count: int) -> Callable[[], bool]:
    return lambda: bool(launchpad.fireworks.count_documents({"state": "COMPLETED"}) >= count)


def test_one_of_two_dispatchers_is_killed_in_the_middle(
    site: Site, launchpad: LaunchPad, log: Path
) -> None:
    dispatchers = _start_two(site, launchpad)
    site.start_executor(threads=2)
    launchpad.add_wf(tasks.growing(log))
    launchpad.add_wf(tasks.fan(log, 30, 0.0))
    _bag(launchpad, log, 120)
    wait_until(_some_done(launchpad, 40), 60.0, "a part of the work")
    reports = [member.get("report", {}) for member in _members(launchpad).values()]
    _housekeeper(launchpad, dispatchers).kill()
    wait_for_all(launchpad, 2 * LEASE_SECONDS + 40)
    check_completed_once(launchpad)
    assert all(report["counts"]["claimed"] for report in reports), "one had nothing to do"


def test_a_dispatcher_that_was_stopped_for_long_begins_anew(
    site: Site, launchpad: LaunchPad, log: Path
) -> None:
    dispatchers = _start_two(site, launchpad)
    site.start_executor(threads=2)
    _bag(launchpad, log, 60)
    wait_until(_some_done(launchpad, 10), 60.0, "a part of the work")
    stopped = _housekeeper(launchpad, dispatchers)
    [other] = [each for each in dispatchers if each is not stopped]
    stopped.send(signal.SIGSTOP)
    launchpad.add_wf(tasks.growing(log))
    launchpad.add_wf(tasks.fan(log, 20, 0.0))
    wait_until(lambda: "taking over what it left" in other.said, 60.0, "the takeover")
    _bag(launchpad, log, 30)
    stopped.send(signal.SIGCONT)
    wait_until(lambda: "beginning anew" in stopped.said, 60.0, "the new beginning")
    wait_until(lambda: len(_members(launchpad)) == 2, 60.0, "both dispatchers again")
    wait_for_all(launchpad, 2 * LEASE_SECONDS + 40)
    check_completed_once(launchpad)
    assert stopped.is_alive
