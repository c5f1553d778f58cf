"""`portfire gce keep` runs a workflow on VMs that come and go, and leaves nothing behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fireworks import LaunchPad

from tests.fleet.keeping.whole_path import run_whole_path
from tests.services.gce import FakeGce


@pytest.mark.timeout(180)
def test_a_workflow_on_a_fleet_with_preemptions_ends_clean(
    launchpad: LaunchPad, gce: FakeGce, tmp_path: Path
) -> None:
    # PORTFIRE_LARGE_FLEET=1 runs what `python -m benchmarks.fleet_run` measures.
    large = os.environ.get("PORTFIRE_LARGE_FLEET") == "1"
    vms, jobs, preemptions = (20, 300, 8) if large else (6, 120, 4)
    run = run_whole_path(
        tmp_path, launchpad, gce, vms=vms, jobs=jobs, preemptions=preemptions, timeout=170
    )
    assert run.ended.code == 0, run.ended.errors
    assert run.states == {"COMPLETED": jobs}
    assert len(run.preempted) >= 2
    # None is left, and what is not there does not run.
    assert (run.vms, run.processes) == ([], [])
    # One that is preempted where there is little left to do is not missed.
    assert run.record["lost"] >= 1
    assert run.record["most"] <= vms
    assert run.spot + run.on_demand > vms
