"""Far more READY Fireworks than anybody can run: only so many are taken as there is room for."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from fireworks import Firework, LaunchPad, PyTask, Workflow

from tests.faults.ledger import check_consistent
from tests.faults.site import Daemon, Site
from tests.waiting import PATIENCE, wait_until

_FLOOD = 100_000
#: So many jobs are run, and the dispatcher's memory is compared from a quarter of them on.
_RUN = 800
_MOST_GROWTH = 30_000_000


def flood(launchpad: LaunchPad) -> None:
    """Add so many workflows of one Firework, past FireWorks' API, which takes minutes for it."""
    launchpad.add_wf(Workflow([Firework(PyTask(func="time.time"), name="one of many")]))
    workflow: dict[str, Any] = launchpad.workflows.find_one({}, {"_id": 0})
    firework: dict[str, Any] = launchpad.fireworks.find_one({}, {"_id": 0})
    first = launchpad.get_new_fw_id(quantity=_FLOOD)
    ids = range(first, first + _FLOOD)
    launchpad.workflows.insert_many(
        {**workflow, "nodes": [n], "links": {str(n): []}, "fw_states": {str(n): "READY"}}
        for n in ids
    )
    launchpad.fireworks.insert_many({**firework, "fw_id": n} for n in ids)


@pytest.fixture
def dispatcher(site: Site, launchpad: LaunchPad) -> Daemon:
    flood(launchpad)
    site.start_executor(threads=2)
    return site.start_dispatcher()


def test_a_flood_leaves_memory_flat_and_lpad_responsive(
    dispatcher: Daemon, site: Site, launchpad: LaunchPad
) -> None:
    def done(jobs: int) -> None:
        ended = {"state": "COMPLETED"}
        wait_until(lambda: launchpad.fireworks.count_documents(ended) >= jobs, 60, f"{jobs} jobs")

    process = psutil.Process(dispatcher.process.pid)
    done(_RUN // 4)
    before = process.memory_info().rss
    lpad = Path(sys.executable).with_name("lpad")
    asked = subprocess.run(
        [lpad, "-l", str(site.launchpad_file), "get_fws", "-s", "READY", "-m", "1"],
        capture_output=True,
        text=True,
        timeout=30 * PATIENCE,
        check=False,
    )
    assert "one of many" in asked.stdout, asked.stderr
    done(_RUN)
    assert process.memory_info().rss - before < _MOST_GROWTH
    # What waits is left to others, and to lpad.
    claimed = launchpad.fireworks.count_documents({"state": {"$in": ["RESERVED", "RUNNING"]}})
    assert claimed < 1000
    assert launchpad.fireworks.count_documents({"state": "READY"}) > _FLOOD - _RUN - 10_000
    dispatcher.send(signal.SIGTERM)
    assert dispatcher.wait() == 0
    check_consistent(launchpad)
