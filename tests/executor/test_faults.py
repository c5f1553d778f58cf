"""What may go wrong with a running job."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from executor.daemon import Executor
from executor.nursery import ChildHandle
from executor.records import Downward, RunLaunch
from tests.executor import workflows
from tests.executor.installation import Installation
from tests.executor.processes import executor_process, runs
from tests.executor.workflows import launch, py_task
from tests.storage_backends.stores import other_file_system
from tests.waiting import wait_until

Start = Callable[..., Executor]


def test_a_job_whose_process_was_killed_runs_again_and_the_slot_lives_on(
    installation: Installation, start_executor: Start, tmp_path: Path
) -> None:
    start_executor()
    task = py_task(workflows.die_once, str(tmp_path / "mark"), stored_data_varname="it")
    installation.submit(launch(1, task))
    released = installation.update("released")
    assert "killed by SIGKILL" in released.reason
    assert "(crash, retry 1 of 4)" in released.reason
    installation.submit(launch(2, py_task("time.sleep", 0)))
    finished = {update.launch_id: update for update in installation.finished(2)}
    assert finished[1].action["stored_data"] == {"it": "survived"}
    assert finished[2].state == "COMPLETED"
    assert "killed by SIGKILL" in installation.event("job.released")["reason"]


@pytest.mark.parametrize("settings", [{"on_child_death": "fizzle"}, {}])
def test_a_job_that_kills_its_process_fizzles_at_once_or_at_its_last_attempt(
    installation: Installation, start_executor: Start, tmp_path: Path, settings: dict[str, Any]
) -> None:
    start_executor(**settings)
    attempts = 5 if settings else 1
    task = py_task(workflows.die_once, str(tmp_path / "mark"), int(signal.SIGSEGV))
    installation.submit(launch(1, task, max_attempts=attempts))
    [finished] = installation.finished()
    assert finished.state == "FIZZLED"
    assert "killed by SIGSEGV" in finished.action["stored_data"]["_message"]
    assert installation.event("job.finished")["phase"] == "execution"


def test_a_job_that_signals_its_own_process_does_not_run_for_ever(
    installation: Installation, start_executor: Start, tmp_path: Path
) -> None:
    start_executor()
    notes = tmp_path / "notes"
    task = py_task(workflows.signal_own_group, str(notes))
    installation.submit(launch(1, task, max_attempts=2))
    [finished] = installation.finished()
    assert "a SIGTERM that its executor did not send" in finished.action["stored_data"]["_message"]
    assert notes.read_text() == "ran\nran\n"


@pytest.mark.parametrize("function", [workflows.wait_for_file, workflows.stubborn])
def test_a_cancelled_job_is_stopped_and_its_slot_is_free(
    installation: Installation, start_executor: Start, tmp_path: Path, function: Any
) -> None:
    executor = start_executor()
    running = tmp_path / "running"
    arguments = ["/nonexistent", str(running)][-function.__code__.co_argcount :]
    job = launch(1, py_task(function, *arguments), attempt=2)
    installation.submit(job)
    wait_until(running.exists, what="the job")
    installation.cancel(job.model_copy(update={"attempt": 1}), "an older attempt")
    installation.cancel(job, "defused")
    assert installation.event("job.cancelled")["reason"] == "defused"
    installation.submit(launch(2, py_task("time.sleep", 0)))
    assert [finished.launch_id for finished in installation.finished()] == [2]
    executor.stop()
    assert installation.waiting_jobs() == []


def test_a_cancelled_job_leaves_no_program_behind(
    installation: Installation, start_executor: Start, tmp_path: Path
) -> None:
    start_executor()
    pid_file = tmp_path / "pid"
    job = launch(1, py_task(workflows.leave_program_behind, str(pid_file)))
    installation.submit(job)
    pid = int(wait_until(lambda: pid_file.exists() and pid_file.read_text(), what="program"))
    installation.cancel(job)
    installation.event("job.cancelled")
    wait_until(lambda: not runs(pid), what="the program's end")


def test_a_job_whose_lease_is_lost_stores_nothing_and_reports_nothing(
    installation: Installation, start_executor: Start, tmp_path: Path
) -> None:
    executor = start_executor()
    running, go, output = (tmp_path / name for name in ("running", "go", "output"))
    files = [str(path) for path in (running, go, output)]
    installation.submit(launch(1, py_task(workflows.store_if_allowed, *files)))
    wait_until(running.exists, what="the job")
    installation.broker.fail_next("ModifyAckDeadline", grpc.StatusCode.UNAVAILABLE, times=10_000)
    # Ten seconds: the shortest lease that there is.
    released = installation.event("job.released", timeout=30)
    assert released["reason"] == "lease lost"
    go.touch()
    wait_until(lambda: executor.running_jobs == 0, what="the end of the job")
    executor.stop()
    installation.read()
    assert not output.exists()
    said = [update.update for update in installation.updates]
    assert [kind for kind in said if kind != "executor"] == ["started"]


def test_a_killed_executor_costs_its_lease_and_no_job(
    installation: Installation, start_executor: Start, tmp_path: Path
) -> None:
    victim = executor_process(installation)
    try:
        running, go = tmp_path / "running", tmp_path / "go"
        job = launch(1, py_task(workflows.wait_for_file, str(go), str(running)))
        installation.submit(job)
        wait_until(running.exists, what="the job")
    finally:
        victim.kill()
        victim.wait()
    go.touch()
    executor = start_executor()
    [finished] = installation.finished(timeout=40)
    assert finished.executor == executor.id
    assert finished.state == "COMPLETED"


@pytest.mark.parametrize(
    "task",
    [
        lambda pid_file: py_task(workflows.leave_program_behind, pid_file),
        lambda pid_file: {
            "_fw_name": "CommandTask",
            "command": f"echo $$ > {pid_file}.new && mv {pid_file}.new {pid_file} && sleep 300",
        },
    ],
)
def test_a_killed_executor_leaves_no_program_behind(
    installation: Installation, tmp_path: Path, task: Callable[[str], dict[str, Any]]
) -> None:
    pid_file = tmp_path / "pid"
    victim = executor_process(installation)
    try:
        installation.submit(launch(1, task(str(pid_file))))
        pid = int(wait_until(lambda: pid_file.exists() and pid_file.read_text(), what="program"))
    finally:
        victim.kill()
        victim.wait()
    wait_until(lambda: not runs(pid), what="the program's end")


def test_a_launch_that_was_cancelled_while_it_waited_is_not_run(
    installation: Installation, start_executor: Start, tmp_path: Path
) -> None:
    running, go, notes = tmp_path / "running", tmp_path / "go", tmp_path / "notes"
    start_executor()
    installation.submit(launch(1, py_task(workflows.wait_for_file, str(go), str(running))))
    wait_until(running.exists, what="the job before it")
    waiting = launch(2, py_task(workflows.note, str(notes)))
    installation.submit(waiting)
    # To the same subscription in this order: when the second is obeyed, so is the first.
    installation.cancel(waiting, "paused")
    installation.cancel(launch(1), "enough")
    assert installation.event("job.cancelled")["id"] == "job-1"
    installation.wait(lambda: len(installation.seen("job.cancelled")) == 2, 20, "both cancels")
    # Resumed, it comes as a new attempt, which nobody has cancelled.
    installation.submit(waiting.model_copy(update={"attempt": 2}))
    [finished] = installation.finished()
    assert (finished.launch_id, finished.attempt) == (2, 2)
    assert notes.read_text() == "ran\n"


def test_a_job_at_which_the_executor_itself_fails_does_not_circulate_for_ever(
    installation: Installation, start_executor: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = ChildHandle.send

    def fail_at_poison(child: ChildHandle, record: Downward) -> None:
        if isinstance(record, RunLaunch) and record.job.name == "poison":
            raise ValueError("what nobody foresaw")
        send(child, record)

    monkeypatch.setattr(ChildHandle, "send", fail_at_poison)
    start_executor()
    installation.submit(launch(1, name="poison", max_attempts=2))
    installation.submit(launch(2, py_task("time.sleep", 0)))
    finished = {update.launch_id: update for update in installation.finished(2)}
    assert finished[1].state == "FIZZLED"
    assert "what nobody foresaw" in finished[1].action["stored_data"]["_message"]
    assert finished[2].state == "COMPLETED"
    assert len([update for update in installation.updates if update.update == "released"]) == 1


def test_a_full_disk_fails_no_job(
    installation: Installation,
    start_executor: Start,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("executor.slot.UNSTARTABLE_PAUSE", 1.0)
    with other_file_system(tmp_path / "disk") as disk:
        start_executor(workdir=disk)
        filler = disk / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while file.write(bytes(65_536)):
                pass
        installation.submit(launch(1, py_task("time.sleep", 0)))
        released = installation.update("released")
        assert "No space left on device" in released.reason
        assert str(disk) in released.reason
        filler.unlink()
        [finished] = installation.finished(timeout=40)
        assert finished.state == "COMPLETED"
