"""The executor daemon on the embedded broker: jobs in, updates and events out."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from executor.daemon import Executor
from executor.settings import ExecutorSettings
from messaging.errors import UsageError
from tests.executor import workflows
from tests.executor.installation import Installation
from tests.executor.workflows import launch, py_task
from tests.waiting import wait_until

Start = Callable[..., Executor]


def test_a_launch_is_run_and_reported(installation: Installation, start_executor: Start) -> None:
    executor = start_executor()
    before = time.time()
    job = launch(1, py_task("builtins.sum", [1, 2], outputs=["total"]))
    installation.submit(job)
    [finished] = installation.finished()
    assert finished.state == "COMPLETED"
    assert finished.action["update_spec"] == {"total": 3}
    assert (finished.job, finished.attempt, finished.launch_id) == ("job-1", 1, 1)
    assert finished.executor == executor.id
    assert before < finished.started <= finished.timestamp
    assert finished.host
    assert finished.ip
    assert Path(finished.launch_dir).parent == installation.workdir
    assert json.loads((Path(finished.launch_dir) / "FW.json").read_text())["fw_id"] == 1
    wait_until(lambda: executor.running_jobs == 0, what="the ack")
    executor.stop()
    assert installation.waiting_jobs() == []


def test_every_phase_shows_as_an_event(installation: Installation, start_executor: Start) -> None:
    executor = start_executor()
    installation.submit(launch(1, py_task("time.sleep", 0)))
    installation.event("job.finished")
    executor.stop()
    installation.event("executor.stopped")
    assert [event["type"] for event in installation.events] == [
        "executor.ready",
        "job.started",
        "job.execution.started",
        "job.execution.finished",
        "job.finished",
        "executor.draining",
        "executor.stopped",
    ]
    for event in installation.events[1:5]:
        assert (event["id"], event["thread"], event["name"]) == ("job-1", 1, "firework 1")
        assert event["executor"] == executor.id
    moments = [event["timestamp"] for event in installation.events]
    assert moments == sorted(moments)


def test_a_failure_is_told_with_phase_and_reason(
    installation: Installation, start_executor: Start
) -> None:
    start_executor()
    installation.submit(launch(1, py_task("missing.function")), launch(2, py_task("time.sleep", 0)))
    states = {finished.launch_id: finished.state for finished in installation.finished(2)}
    assert states == {1: "FIZZLED", 2: "COMPLETED"}
    installation.wait(lambda: len(installation.seen("job.finished")) == 2, 20.0, "both ends")
    told = [event for event in installation.seen("job.finished") if event["id"] == "job-1"]
    assert told[0]["state"] == "FIZZLED"
    assert told[0]["phase"] == "execution"
    assert told[0]["reason"] == "ModuleNotFoundError: No module named 'missing'"


def test_a_long_launch_is_reported_as_started(
    installation: Installation, start_executor: Start, tmp_path: Path
) -> None:
    start_executor()
    installation.submit(launch(1, py_task(workflows.wait_for_file, str(tmp_path / "go"))))
    started = installation.update("started")
    assert started.launch_id == 1
    assert Path(started.launch_dir).is_dir()
    (tmp_path / "go").touch()
    assert installation.finished()[0].started == started.timestamp


def test_launches_that_run_are_pinged_and_the_executor_sends_heartbeats(
    installation: Installation, start_executor: Start, tmp_path: Path
) -> None:
    start_executor(heartbeat_seconds=0.1)
    installation.submit(launch(1, py_task(workflows.wait_for_file, str(tmp_path / "go"))))
    assert installation.update("ping").launch_id == 1
    installation.wait(
        lambda: any(beat["busy"] == 1 for beat in installation.seen("executor.heartbeat")),
        10,
        "a busy heartbeat",
    )
    beat = installation.seen("executor.heartbeat")[-1]
    assert beat["threads"] == 1
    assert beat["memory"] > 1e6
    assert beat["disk"] > 0
    assert beat["load"] >= 0
    (tmp_path / "go").touch()


@pytest.mark.alone
def test_no_job_waits_behind_a_busy_executor(
    installation: Installation, start_executor: Start
) -> None:
    executors = [start_executor(), start_executor()]
    for _ in executors:
        installation.event("executor.ready")
    installation.submit(*[launch(n, py_task("time.sleep", 1)) for n in range(10)])
    began = time.monotonic()
    finished = installation.finished(10)
    # Five seconds each; ten if one had them all.
    assert time.monotonic() - began < 8.5
    shares = [sum(f.executor == executor.id for f in finished) for executor in executors]
    assert shares == [5, 5]


def test_a_second_delivery_of_a_running_job_is_not_run(
    installation: Installation, start_executor: Start, tmp_path: Path
) -> None:
    executor = start_executor(threads=2)
    notes = str(tmp_path / "notes")
    job = launch(
        1, py_task(workflows.note, notes), py_task(workflows.wait_for_file, str(tmp_path / "go"))
    )
    installation.submit(job)
    wait_until(Path(notes).exists, what="the job")
    # The other slot is free, and takes both; it runs only the one that is new.
    installation.submit(job)
    installation.submit(launch(2, py_task("time.sleep", 0)))
    assert installation.finished()[0].launch_id == 2
    (tmp_path / "go").touch()
    installation.finished(2)
    wait_until(lambda: executor.running_jobs == 0, what="the ack")
    executor.stop()
    assert Path(notes).read_text() == "ran\n"
    assert installation.waiting_jobs() == []


def test_a_job_that_came_back_too_often_is_not_run(
    installation: Installation, start_executor: Start, tmp_path: Path
) -> None:
    job = launch(1, py_task(workflows.note, str(tmp_path / "notes")), max_attempts=1)
    installation.submit(job)
    jobs = installation.names.pool_jobs("default")
    [message] = installation.pubsub.pull(jobs, 1, 5.0)
    installation.pubsub.extend(jobs, [message.ack_id], 0)
    start_executor()
    [finished] = installation.finished()
    assert finished.state == "FIZZLED"
    assert "delivered 1 times without a result" in finished.action["stored_data"]["_message"]
    assert not (tmp_path / "notes").exists()


def test_results_survive_an_outage_of_publishing(
    installation: Installation, start_executor: Start, tmp_path: Path
) -> None:
    executor = start_executor()
    running, go = tmp_path / "running", tmp_path / "go"
    installation.submit(launch(1, py_task(workflows.wait_for_file, str(go), str(running))))
    installation.update("started")
    installation.broker.fail_next("Publish", grpc.StatusCode.UNAVAILABLE, times=4)
    go.touch()
    assert installation.finished()[0].state == "COMPLETED"
    wait_until(lambda: executor.running_jobs == 0, what="the ack")


def test_a_broker_that_restarts_is_found_again(
    installation: Installation, start_executor: Start
) -> None:
    start_executor()
    installation.submit(launch(1, py_task("time.sleep", 0)))
    installation.finished(1)
    installation.broker.stop()
    installation.broker.start()
    installation.create()
    installation.submit(launch(2, py_task("time.sleep", 0)))
    assert [finished.launch_id for finished in installation.finished(2, timeout=40)] == [1, 2]


def test_a_subscription_deleted_under_the_executor_is_made_again(
    installation: Installation, start_executor: Start
) -> None:
    start_executor()
    installation.pubsub.delete_subscription(installation.names.pool_jobs("default"))
    installation.wait(
        lambda: installation.pubsub.subscription_exists(installation.names.pool_jobs("default")),
        20,
        "the subscription",
    )
    installation.submit(launch(1, py_task("time.sleep", 0)))
    installation.finished()


def test_an_executor_that_starts_before_the_dispatcher_waits_for_it(
    installation: Installation, start_executor: Start
) -> None:
    for topic in (installation.names.jobs, installation.names.control):
        installation.pubsub.delete_topic(topic)
    installation.pubsub.delete_subscription(installation.names.pool_jobs("default"))
    start_executor()
    installation.create()
    installation.submit(launch(1, py_task("time.sleep", 0)))
    # The executor makes its subscription when it sees the topic; what came before it is not there.
    installation.wait(
        lambda: installation.pubsub.subscription_exists(installation.names.pool_jobs("default")),
        20,
        "the subscription",
    )
    installation.submit(launch(2, py_task("time.sleep", 0)))
    installation.finished()


def test_a_child_is_replaced_after_its_number_of_jobs(
    installation: Installation, start_executor: Start
) -> None:
    start_executor(jobs_per_child=2)
    task = py_task("os.getpid", stored_data_varname="pid")
    installation.submit(*[launch(n, task) for n in range(4)])
    finished = installation.finished(4)
    pids = [update.action["stored_data"]["pid"] for update in finished]
    assert len(set(pids)) == 2
    assert pids.count(pids[0]) == 2


def test_what_is_wrong_at_the_start_is_one_line(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.touch()
    with pytest.raises(UsageError, match=r"workdir .*file/work cannot be used: .*PORTFIRE_WORKDIR"):
        Executor(ExecutorSettings(workdir=blocker / "work")).start()
    with pytest.raises(UsageError, match="no Pub/Sub to talk to"):
        Executor(ExecutorSettings(workdir=tmp_path)).start()
