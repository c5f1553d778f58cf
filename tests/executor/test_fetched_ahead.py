"""Jobs that an executor has fetched before a slot was free: none waits long, none is lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from executor.daemon import Executor
from messaging.wire import LaunchJob, decode_job
from tests.executor import workflows
from tests.executor.installation import Installation
from tests.executor.workflows import launch, py_task
from tests.waiting import wait_until

Start = Callable[..., Executor]

#: The launch that the others come with: one pull brings the first, the second two more, and the
#: third this one and the two behind it.
FOURTH = 4


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Executors that take all jobs for short ones from the beginning, however slow we are."""
    monkeypatch.setattr("executor.appetite._FIRST_GUESS", 0.0)
    monkeypatch.setattr("executor.appetite.AHEAD_SECONDS", 1000.0)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Executors in which jobs wait for a slot for ever."""
    monkeypatch.setattr("executor.intake.WAIT_SECONDS", 600.0)


def jobs_with(task: dict[str, Any], **fields: Any) -> list[LaunchJob]:
    """Six short jobs, the fourth of which is this one."""
    jobs = [launch(number, py_task("time.sleep", 0)) for number in range(1, 7)]
    jobs[FOURTH - 1] = launch(FOURTH, task, **fields)
    return jobs


def long_job(tmp_path: Path) -> dict[str, Any]:
    """It runs until there is a file ``go``; says so by the file ``running``."""
    return py_task(workflows.wait_for_file, str(tmp_path / "go"), str(tmp_path / "running"))


def submit(
    installation: Installation, start_executor: Start, jobs: list[LaunchJob], **settings: Any
) -> Executor:
    """All jobs are there before the executor is."""
    installation.submit(*jobs)
    return start_executor(**settings)


def ended(installation: Installation, count: int) -> list[int]:
    return sorted(update.launch_id for update in installation.finished(count))


def test_jobs_behind_a_long_one_go_to_another_executor(
    installation: Installation, start_executor: Start, tmp_path: Path
) -> None:
    submit(installation, start_executor, jobs_with(long_job(tmp_path)))
    wait_until((tmp_path / "running").exists, what="the long job")
    start_executor()
    assert ended(installation, 5) == [1, 2, 3, 5, 6]
    (tmp_path / "go").touch()
    assert ended(installation, 6) == [1, 2, 3, 4, 5, 6]
    assert installation.waiting_jobs() == []
    assert not [update for update in installation.updates if update.update == "released"]


@pytest.mark.usefixtures("patient")
def test_a_soft_stop_gives_them_back_uncounted(
    installation: Installation, start_executor: Start, tmp_path: Path
) -> None:
    jobs = jobs_with(long_job(tmp_path))
    executor = submit(installation, start_executor, jobs, grace_seconds=0.0)
    wait_until((tmp_path / "running").exists, what="the long job")
    wait_until(lambda: executor.running_jobs == 3, what="those behind it")
    executor.stop()
    messages = installation.waiting_jobs(timeout=5.0)
    given_back = [decode_job(message.data) for message in messages]
    assert sorted(given_back, key=lambda job: getattr(job, "launch_id", 0)) == jobs[FOURTH - 1 :]
    assert {message.delivery_attempt for message in messages} == {1}
    assert ended(installation, 3) == [1, 2, 3]


@pytest.mark.usefixtures("patient")
def test_one_of_them_can_be_cancelled(
    installation: Installation, start_executor: Start, tmp_path: Path
) -> None:
    jobs = jobs_with(long_job(tmp_path))
    jobs[4] = launch(5, py_task(workflows.note, str(tmp_path / "fifth")))
    submit(installation, start_executor, jobs)
    wait_until((tmp_path / "running").exists, what="the long job")
    installation.cancel(jobs[4])
    # The running one is cancelled after it: when its slot is free, the other cancel is known.
    installation.cancel(jobs[FOURTH - 1])
    assert ended(installation, 4) == [1, 2, 3, 6]
    installation.wait(lambda: len(installation.seen("job.cancelled")) == 2, 20.0, "both cancels")
    assert not (tmp_path / "fifth").exists()


def test_a_job_that_kills_its_process_takes_none_of_them_with_it(
    installation: Installation, start_executor: Start
) -> None:
    poison = jobs_with(py_task(workflows.kill_self), max_attempts=2)
    submit(installation, start_executor, poison)
    assert ended(installation, 6) == [1, 2, 3, 4, 5, 6]
    states = {update.launch_id: update.state for update in installation.finished(6)}
    assert states == dict.fromkeys((1, 2, 3, 5, 6), "COMPLETED") | {4: "FIZZLED"}


@pytest.mark.usefixtures("patient")
def test_what_comes_with_a_job_that_came_back_does_not_share_its_fate(
    installation: Installation, start_executor: Start, tmp_path: Path
) -> None:
    jobs = jobs_with(long_job(tmp_path), delivered_before=1)
    submit(installation, start_executor, jobs)
    wait_until((tmp_path / "running").exists, what="the job")
    start_executor()
    assert ended(installation, 5) == [1, 2, 3, 5, 6]
    (tmp_path / "go").touch()
    assert ended(installation, 6) == [1, 2, 3, 4, 5, 6]
