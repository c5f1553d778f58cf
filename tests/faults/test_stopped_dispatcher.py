"""A dispatcher stopped right before a write, and woken when its successor has done all the work."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import psutil
import pytest
from fireworks import LaunchPad

from tests.faults import tasks
from tests.faults.ledger import check_completed_once, wait_for_all
from tests.faults.site import LEASE_SECONDS, REPOSITORY, Site
from tests.waiting import wait_until

_FAULTS = REPOSITORY / "tests" / "faults"
_STOPPING = str(_FAULTS / "killing_dispatcher.py")
_HASTY = str(_FAULTS / "hasty_dispatcher.py")

POINTS = {
    "the lock seen, Fireworks not replaced": "dispatcher.journal:write_all",
    "Fireworks replaced, the workflow not": "pymongo.collection:Collection.replace_one@workflows",
}


def _documents(launchpad: LaunchPad) -> list[dict[str, Any]]:
    return [*launchpad.fireworks.find({}), *launchpad.workflows.find({})]


@pytest.mark.parametrize("where", POINTS)
def test_a_dispatcher_that_wakes_in_the_midst_of_a_write_changes_nothing(
    site: Site, launchpad: LaunchPad, log: Path, where: str
) -> None:
    launchpad.add_wf(tasks.growing(log))
    site.start_executor(threads=2)
    stopped = site.start_dispatcher(driver=[_STOPPING, POINTS[where], "stop", "1"])
    process = psutil.Process(stopped.process.pid)
    wait_until(lambda: process.status() == psutil.STATUS_STOPPED, 30.0, "the point")
    site.start_dispatcher(driver=[_HASTY])
    wait_for_all(launchpad, LEASE_SECONDS + 50)
    before = _documents(launchpad)
    stopped.send(signal.SIGCONT)
    wait_until(lambda: "beginning anew" in stopped.said, 30.0, "the new beginning")
    assert _documents(launchpad) == before
    check_completed_once(launchpad)
    assert stopped.is_alive
