"""Everything on Google's own Pub/Sub emulator: no feature of our broker is needed.

The emulator ignores subscription filters: whoever must not get a message has to see that itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from fireworks import Firework, LaunchPad, PyTask

from messaging.wire import decode_reply
from tests.acceptance import tasks
from tests.acceptance.daemons import Daemons
from tests.faults.ledger import (
    check_completed_once,
    check_consistent,
    state_of,
    wait_for_all,
    wait_for_state,
)

PHASES = [
    "job.started",
    "job.stage-in.started",
    "job.stage-in.finished",
    "job.execution.started",
    "job.execution.finished",
    "job.stage-out.started",
    "job.stage-out.finished",
    "job.finished",
]


def test_a_workflow_runs_and_every_phase_of_every_job_is_seen(
    emulator_daemons: Daemons, launchpad: LaunchPad, storage: Path
) -> None:
    daemons = emulator_daemons
    daemons.start_dispatcher(launchpad)
    daemons.start_events()
    daemons.start_executor()
    launchpad.add_wf(tasks.letters(storage, ["b", "a", "b"]))
    wait_for_all(launchpad)
    check_completed_once(launchpad)
    assert (storage / "sorted.txt").read_text() == "a\nb\n"
    assert (storage / "result.txt").read_text().strip() == "2"
    for name in ("write", "order", "count"):
        end = daemons.event(type="job.finished", name=name)
        assert end["state"] == "COMPLETED"
        assert _phases(daemons, end["id"]) == PHASES
    fetched = daemons.event(type="job.stage-in.finished", name="order")
    assert (fetched["bytes"], fetched["executor"]) == (6, "default-1")
    stored = daemons.event(type="job.stage-out.finished", name="order")
    assert stored["bytes"] == 4
    assert daemons.events(type="executor.ready", executor="default-1")


def test_a_raw_job_is_answered(emulator_daemons: Daemons, storage: Path) -> None:
    daemons = emulator_daemons
    daemons.start_events()
    daemons.start_executor()
    (storage / "in.txt").write_text("one\ntwo\n")
    job = {
        "name": "raw",
        "executable": "sh",
        "args": ["-c", "wc -l < in.txt > out.txt; echo said"],
        "inputs": [{"name": "in.txt"}],
        "outputs": [{"name": "out.txt"}],
        "options": {"storage": "nfs", "workdir": str(storage)},
    }
    (daemons.directory / "job.json").write_text(json.dumps(job))
    ended = daemons.portfire("submit", "--wait", "--timeout", "30", "job.json")
    assert ended.code == 0, ended.errors
    reply = decode_reply(ended.output.encode())
    assert (reply.exit_status, reply.stdout, reply.exceptions) == (0, "said\n", None)
    assert (storage / "out.txt").read_text().strip() == "2"
    daemons.event(type="job.finished", id=reply.job)
    assert _phases(daemons, reply.job) == PHASES


def test_a_defused_job_is_stopped_and_the_next_one_runs(
    emulator_daemons: Daemons, launchpad: LaunchPad, tmp_path: Path
) -> None:
    daemons = emulator_daemons
    daemons.start_dispatcher(launchpad)
    daemons.start_events()
    daemons.start_executor(threads=1)
    gate = [str(tmp_path / "gate")]
    launchpad.add_wf(Firework(PyTask(func=f"{tasks.__name__}.wait_for", args=gate), name="stuck"))
    wait_for_state(launchpad, "stuck", "RUNNING")
    launchpad.defuse_fw(launchpad.fireworks.find_one({"name": "stuck"})["fw_id"])
    cancelled = daemons.event(type="job.cancelled", name="stuck")
    assert "defused" in cancelled["reason"]
    launchpad.add_wf(tasks.script("next"))
    wait_for_state(launchpad, "next", "COMPLETED")
    assert state_of(launchpad, "stuck") == "DEFUSED"
    assert daemons.events(type="job.finished", name="stuck") == []
    check_consistent(launchpad)


def test_jobs_of_two_pools_run_on_the_executors_of_their_pool_only(
    emulator_daemons: Daemons, make_launchpad: Callable[[], LaunchPad]
) -> None:
    daemons = emulator_daemons
    daemons.start_events()
    pools = {pool: make_launchpad() for pool in ("default", "gpu")}
    for pool, launchpad in pools.items():
        daemons.start_dispatcher(launchpad, pool)
        daemons.start_executor(pool)
    for number in range(6):
        for pool, launchpad in pools.items():
            launchpad.add_wf(tasks.script(f"{pool} job {number}"))
    (daemons.directory / "raw.json").write_text('{"executable": "true", "name": "gpu raw"}')
    flags = ("--wait", "--timeout", "30", "--pool", "gpu")
    assert daemons.portfire("submit", *flags, "raw.json").code == 0
    for launchpad in pools.values():
        wait_for_all(launchpad)
        check_completed_once(launchpad)
    for pool in pools:
        for name in [f"{pool} job {number}" for number in range(6)]:
            daemons.event(type="job.finished", name=name)
            assert [each["executor"] for each in daemons.events(name=name)] == [f"{pool}-1"] * 4
    assert daemons.event(type="job.finished", name="gpu raw")["executor"] == "gpu-1"
    assert {each["executor"] for each in daemons.events(name="gpu raw")} == {"gpu-1"}


def _phases(daemons: Daemons, job: str) -> list[str]:
    """Types of the job's events, in the order in which they happened."""
    events = daemons.events(id=job)
    assert [each["attempt"] for each in events if "attempt" in each] in ([], [1] * len(events))
    return [each["type"] for each in sorted(events, key=lambda each: int(each["seq"]))]
