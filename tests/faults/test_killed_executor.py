"""Executors that are killed, stopped, frozen, or whose jobs kill them."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path

import psutil
import pytest
from fireworks import Firework, LaunchPad, Workflow

from tests.faults import tasks
from tests.faults.ledger import (
    check_completed_once,
    check_consistent,
    launches_of,
    state_of,
    states,
    wait_for_all,
    wait_for_state,
)
from tests.faults.site import LEASE_SECONDS, Site
from tests.waiting import wait_until


def test_an_executor_killed_in_the_middle_of_a_workflow_costs_its_lease_and_no_job(
    site: Site, launchpad: LaunchPad, log: Path
) -> None:
    launchpad.add_wf(tasks.fan(log, width=18, seconds=0.3))
    site.start_dispatcher()
    victim = site.start_executor(threads=2)
    site.start_executor(threads=2)
    wait_until(lambda: len(tasks.ended(log)) > 4, what="the middle of the workflow")
    victim.kill()
    wait_for_all(launchpad, LEASE_SECONDS + 20)
    check_completed_once(launchpad)
    runs = Counter(tasks.ended(log))
    assert set(runs) == set(states(launchpad))
    # Only what was cut off between its last line and its report may have run again.
    assert sum(runs.values()) <= len(runs) + 2


def test_a_terminated_executor_gives_back_what_runs_at_once_and_uncounted(
    site: Site, launchpad: LaunchPad, log: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    # Longer than all that a busy machine can take: whatever waits for its end is seen.
    site.lease_seconds = 120.0
    for name in ("one", "two"):
        launchpad.add_wf(tasks.firework(log, name, gate=gate))
    site.start_dispatcher(max_attempts=1)
    victim = site.start_executor(threads=1)
    site.watch()
    wait_until(lambda: tasks.began(log), what="a job")
    [running] = tasks.began(log)
    wait_for_state(launchpad, running, "RUNNING")
    victim.send(signal.SIGTERM)
    assert victim.wait() == 0
    gate.touch()
    # One attempt only: had the soft stop counted as one, this job would be FIZZLED now.
    heir = site.start_executor(threads=1)
    wait_for_all(launchpad, 60)
    check_completed_once(launchpad)
    assert heir.is_alive
    site.event("executor.stopped")
    told = [event.type for event in site.events]
    assert told.index("executor.draining") < told.index("job.released")
    assert told.index("job.released") < told.index("executor.stopped")
    states_told = [getattr(event, "state", None) for event in site.seen("job.finished")]
    assert "FIZZLED" not in states_told
    [released] = site.seen("job.released")
    assert getattr(released, "name", None) == running


def test_a_terminated_executor_lets_a_job_finish_within_its_grace(
    site: Site, launchpad: LaunchPad, log: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    launchpad.add_wf(tasks.firework(log, "job", gate=gate))
    site.start_dispatcher()
    executor = site.start_executor(grace_seconds=30.0)
    wait_until(lambda: tasks.began(log), what="the job")
    executor.send(signal.SIGTERM)
    wait_until(lambda: "stops: got a signal" in executor.said, what="the drain")
    gate.touch()
    assert executor.wait() == 0
    wait_for_all(launchpad)
    check_completed_once(launchpad)
    assert tasks.began(log) == ["job"]


@pytest.mark.parametrize("policy", ["retry", "fizzle"])
def test_a_killed_slot_is_replaced_and_its_job_follows_the_policy(
    site: Site, launchpad: LaunchPad, log: Path, policy: str
) -> None:
    launchpad.add_wf(Firework(tasks.call(tasks.kill_slot, log=str(log), times=1), name="killer"))
    site.start_dispatcher()
    executor = site.start_executor(on_child_death=policy)
    wait_for_state(launchpad, "killer", "COMPLETED" if policy == "retry" else "FIZZLED")
    launchpad.add_wf(tasks.firework(log, "next"))
    wait_for_state(launchpad, "next", "COMPLETED")
    assert executor.is_alive
    [launch] = launches_of(launchpad, "killer")
    if policy == "fizzle":
        assert "killed by SIGKILL" in launch["action"]["stored_data"]["_message"]
    check_consistent(launchpad)


def test_a_job_that_always_kills_its_process_is_fizzled_after_max_attempts(
    site: Site, launchpad: LaunchPad, log: Path
) -> None:
    launchpad.add_wf(Firework(tasks.call(tasks.kill_slot, log=str(log), times=99), name="killer"))
    site.start_dispatcher(max_attempts=2)
    executor = site.start_executor()
    wait_for_state(launchpad, "killer", "FIZZLED")
    assert executor.is_alive
    assert len(tasks.began(log)) == 2
    [launch] = launches_of(launchpad, "killer")
    assert "killed by SIGKILL" in launch["action"]["stored_data"]["_message"]


def test_a_job_that_kills_its_executors_is_fizzled_after_max_attempts(
    site: Site, launchpad: LaunchPad, log: Path
) -> None:
    launchpad.add_wf(Firework(tasks.call(tasks.kill_executor, log=str(log)), name="killer"))
    site.start_dispatcher(max_attempts=1)
    victim = site.start_executor()
    assert victim.wait() == -signal.SIGKILL
    survivor = site.start_executor()
    wait_for_state(launchpad, "killer", "FIZZLED", LEASE_SECONDS + 15)
    [launch] = launches_of(launchpad, "killer")
    message = launch["action"]["stored_data"]["_message"]
    assert "delivered 1 times without a result" in message
    assert survivor.is_alive
    assert len(tasks.began(log)) == 1


@pytest.mark.alone
def test_two_executors_share_ten_jobs_evenly(site: Site, launchpad: LaunchPad, log: Path) -> None:
    site.start_dispatcher()
    site.watch()
    for _ in range(2):
        site.start_executor(threads=1)
    jobs = [tasks.firework(log, f"job {number}", seconds=1.0) for number in range(10)]
    launchpad.add_wf(Workflow(jobs, name="ten"))
    wait_for_all(launchpad)
    wait_until(lambda: len(site.seen("job.finished")) == 10, what="all events")
    shares = Counter(event.executor for event in site.seen("job.finished"))
    # A machine with other work may start one of them late.
    assert min(shares.values()) >= 4
    assert len(shares) == 2


def test_a_frozen_executor_loses_its_job_and_its_late_result(
    site: Site, launchpad: LaunchPad, log: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    launchpad.add_wf(tasks.firework(log, "job", gate=gate))
    site.start_dispatcher()
    site.watch()
    frozen = site.start_executor()
    wait_until(lambda: tasks.began(log), what="the job")
    family = [frozen.process.pid, *(p.pid for p in _descendants(frozen.process.pid))]
    for pid in family:
        psutil.Process(pid).suspend()
    heir = site.start_executor()
    wait_until(lambda: len(tasks.began(log)) == 2, LEASE_SECONDS + 15, "the job's second run")
    for pid in family:
        psutil.Process(pid).resume()
    # It learns by its clock, asks nobody, and stops the job; it does not report a result.
    released = site.event("job.released")
    assert getattr(released, "reason", "") == "lease lost"
    gate.touch()
    wait_for_all(launchpad)
    wait_until(lambda: len(site.seen("job.finished")) == 1, what="the event")
    check_completed_once(launchpad)
    assert tasks.ended(log) == ["job"]
    assert state_of(launchpad, "job") == "COMPLETED"
    assert frozen.is_alive
    assert heir.is_alive
    launchpad.add_wf(Workflow([tasks.firework(log, f"later {n}", seconds=0.5) for n in range(4)]))
    wait_for_all(launchpad)


def _descendants(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)
