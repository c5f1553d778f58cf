"""How executors stop: softly, past their grace, at once, and when a part of them dies."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from executor.daemon import Executor
from executor.heartbeat import Heartbeat
from executor.intake import Intake
from messaging.errors import PortfireError
from messaging.wire import decode_job
from tests.executor import workflows
from tests.executor.installation import Installation
from tests.executor.processes import executor_process, launch_id, runs
from tests.executor.workflows import launch, py_task
from tests.waiting import wait_until

Start = Callable[..., Executor]

_PARTS = {
    *("puller", "slot-1", "slot-2", "outbox", "control", "heartbeat", "publish-portfire-events"),
    *("lease-extend", "lease-settle", "lease-watch"),
}


def test_a_soft_stop_lets_running_jobs_finish(
    installation: Installation, start_executor: Start, tmp_path: Path
) -> None:
    executor = start_executor(grace_seconds=60.0)
    running, go = tmp_path / "running", tmp_path / "go"
    installation.submit(launch(1, py_task(workflows.wait_for_file, str(go), str(running))))
    wait_until(running.exists, what="the job")
    stopping = threading.Thread(target=executor.stop)
    stopping.start()
    installation.event("executor.draining")
    installation.submit(launch(2, py_task("time.sleep", 0)))
    go.touch()
    stopping.join(20)
    installation.event("executor.stopped")
    assert [finished.launch_id for finished in installation.finished()] == [1]
    [left] = installation.waiting_jobs()
    assert launch_id(left.data) == 2


@pytest.mark.parametrize("now", [False, True])
def test_past_the_grace_a_running_job_is_given_back_uncounted(
    installation: Installation, start_executor: Start, tmp_path: Path, now: bool
) -> None:
    executor = start_executor(grace_seconds=60.0 if now else 0.0)
    running = tmp_path / "running"
    job = launch(1, py_task(workflows.wait_for_file, str(tmp_path / "go"), str(running)))
    installation.submit(job)
    wait_until(running.exists, what="the job")
    executor.request_stop("preempted", now=now)
    executor.stop()
    assert installation.update("released").launch_id == 1
    # At once, and not counted: the lease has not run out, and no attempt was lost.
    [message] = installation.waiting_jobs(timeout=5.0)
    assert decode_job(message.data) == job
    assert message.delivery_attempt == 1
    installation.event("executor.stopped")
    told = [event["type"] for event in installation.events if "execution" not in event["type"]]
    assert told[-3:] == ["executor.draining", "job.released", "executor.stopped"]
    assert installation.seen("executor.draining")[0]["reason"] == "preempted"
    assert installation.seen("job.finished") == []
    assert installation.waiting_jobs() == []


def test_a_stubborn_job_is_killed_and_given_back(
    installation: Installation, start_executor: Start, tmp_path: Path
) -> None:
    executor = start_executor(grace_seconds=0.0)
    running = tmp_path / "running"
    installation.submit(launch(1, py_task(workflows.stubborn, str(running))))
    wait_until(running.exists, what="the job")
    executor.stop()
    [message] = installation.waiting_jobs(timeout=5.0)
    assert message.delivery_attempt == 1


def test_a_job_that_cannot_be_published_again_is_given_back_by_its_lease(
    installation: Installation,
    start_executor: Start,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("executor.daemon._FLUSH_SECONDS", 1.0)
    executor = start_executor(grace_seconds=0.0)
    running = tmp_path / "running"
    job = launch(1, py_task(workflows.wait_for_file, str(tmp_path / "go"), str(running)))
    installation.submit(job)
    installation.update("started")
    wait_until(running.exists, what="the job")
    installation.event("job.execution.started")
    installation.broker.fail_next("Publish", grpc.StatusCode.UNAVAILABLE, times=10_000)
    executor.stop()
    [message] = installation.waiting_jobs(timeout=5.0)
    assert message.delivery_attempt == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_command_softly_and_a_second_one_at_once(
    installation: Installation, tmp_path: Path, number: signal.Signals
) -> None:
    process = executor_process(installation, grace_seconds=600.0)
    try:
        running = tmp_path / "running"
        job = launch(1, py_task(workflows.wait_for_file, str(tmp_path / "go"), str(running)))
        installation.submit(job)
        wait_until(running.exists, what="the job")
        process.send_signal(number)
        installation.event("executor.draining")
        assert process.poll() is None
        began = time.monotonic()
        process.send_signal(number)
        assert process.wait(30) == 0
        assert time.monotonic() - began < 20
    finally:
        process.kill()
        process.wait()
    installation.event("executor.stopped")
    [message] = installation.waiting_jobs(timeout=5.0)
    assert message.delivery_attempt == 1


def test_an_executor_whose_part_died_stops_and_says_so(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_heartbeat: Heartbeat) -> None:
        raise ValueError("what nobody foresaw")

    monkeypatch.setattr(Heartbeat, "beat", fail)
    executor = Executor(installation.settings(heartbeat_seconds=0.01))
    with pytest.raises(PortfireError, match="had to stop, for the heartbeat died"):
        executor.run()
    assert installation.event("executor.stopped")["reason"] == "the heartbeat died"


def test_a_start_that_fails_half_way_leaves_nothing_running(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_intake: Intake) -> None:
        raise RuntimeError("can't start new thread")

    before = set(threading.enumerate())
    monkeypatch.setattr(Intake, "start", fail)
    executor = Executor(installation.settings(threads=2))
    with pytest.raises(RuntimeError, match="can't start"):
        executor.start()
    ours = {thread.name for thread in threading.enumerate() if thread not in before}
    # gRPC's own threads go in their own time.
    assert not ours & _PARTS
    control = installation.names.executor_control(executor.id)
    assert not installation.pubsub.subscription_exists(control)
    executor.stop()


def test_starting_and_stopping_many_times_leaves_no_process_behind(
    installation: Installation,
) -> None:
    for number in range(5):
        with Executor(installation.settings(threads=3)):
            installation.submit(launch(number, py_task("os.getpid", stored_data_varname="pid")))
            installation.finished(number + 1)
    pids = [update.action["stored_data"]["pid"] for update in installation.finished(5)]
    wait_until(lambda: not any(runs(pid) for pid in pids), what="the end of all children")
