"""What executors make of messages: odd ones, foreign ones, too large ones, and raw jobs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from executor.daemon import Executor
from messaging.pubsub import Outgoing
from messaging.wire import Reply, decode_reply
from tests.executor.installation import Installation
from tests.executor.workflows import launch, py_task
from tests.waiting import wait_until

Start = Callable[..., Executor]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"\xff\x00", "not JSON"),
        (b"[]", "expected an object"),
        (b'{"version": "2.0", "executable": "true"}', "version '2.0'"),
        (b'{"args": ["x"]}', "executable is missing"),
        (b'{"kind": "surprise"}', "unknown kind"),
    ],
)
def test_a_message_that_is_no_job_is_rejected_and_the_next_one_runs(
    installation: Installation, start_executor: Start, data: bytes, expected: str
) -> None:
    executor = start_executor()
    installation.send(Outgoing(data, {"job": "odd"}))
    installation.submit(launch(1, py_task("time.sleep", 0)))
    installation.finished()
    rejected = installation.event("job.rejected")
    assert expected in rejected["reason"]
    assert rejected["id"] == "odd"
    executor.stop()
    assert installation.waiting_jobs() == []


def test_a_launch_that_cannot_be_read_fizzles(
    installation: Installation, start_executor: Start
) -> None:
    start_executor()
    body = {"kind": "launch", "version": "9.0", "job": "new", "launch_id": 12, "attempt": 2}
    installation.send(Outgoing(json.dumps(body).encode()))
    [finished] = installation.finished()
    assert (finished.job, finished.launch_id, finished.attempt) == ("new", 12, 2)
    assert finished.state == "FIZZLED"
    assert "version '9.0'" in finished.action["stored_data"]["_message"]


def test_a_result_over_the_limit_of_pubsub_fizzles_with_the_reason(
    installation: Installation, start_executor: Start
) -> None:
    start_executor()
    task = py_task("operator.mul", "x", 11_000_000, outputs=["big"])
    installation.submit(launch(1, task))
    [finished] = installation.finished(timeout=40)
    assert finished.state == "FIZZLED"
    message = finished.action["stored_data"]["_message"]
    assert "over Pub/Sub's limit" in message
    assert "write large data to files" in message
    assert installation.event("job.finished")["state"] == "FIZZLED"


def test_a_job_of_another_pool_is_left_to_it(
    installation: Installation, start_executor: Start
) -> None:
    installation.pubsub.delete_subscription(installation.names.pool_jobs("default"))
    # As if the server ignored filters.
    installation.pubsub.create_subscription(
        installation.names.pool_jobs("default"), installation.names.jobs
    )
    start_executor()
    installation.submit(launch(1, py_task("time.sleep", 0), pool="gpu"))
    installation.submit(launch(2, py_task("time.sleep", 0)))
    assert [finished.launch_id for finished in installation.finished()] == [2]
    assert not [event for event in installation.events if event.get("id") == "job-1"]


def test_a_raw_job_is_answered_on_its_reply_topic(
    installation: Installation, start_executor: Start, tmp_path: Path
) -> None:
    executor = start_executor()
    for reply_to in ("answers", "projects/portfire-local/topics/more-answers"):
        topic = reply_to.rsplit("/", 1)[-1]
        installation.pubsub.create_topic(topic)
        installation.pubsub.create_subscription(topic, topic)
        body = {"executable": "echo", "args": ["hello"], "options": {"workdir": str(tmp_path)}}
        attributes = {"job": "raw-1", "reply_to": reply_to}
        installation.send(Outgoing(json.dumps(body).encode(), attributes))
        reply = _reply(installation, topic)
        assert (reply.job, reply.exit_status, reply.stdout) == ("raw-1", 0, "hello\n")
    assert installation.event("job.finished")["state"] == "COMPLETED"
    wait_until(lambda: executor.running_jobs == 0, what="the ack")
    wait_until(lambda: not list(installation.workdir.glob("raw-1*")), what="the clean-up")


def test_a_raw_job_that_fails_and_one_that_is_none_get_error_replies(
    installation: Installation, start_executor: Start
) -> None:
    start_executor()
    installation.pubsub.create_topic("answers")
    installation.pubsub.create_subscription("answers", "answers")
    attributes = {"job": "raw-2", "reply_to": "answers"}
    installation.send(Outgoing(b'{"executable": "false"}', attributes))
    reply = _reply(installation, "answers")
    assert reply.exit_status == 1
    assert reply.exceptions
    told = installation.event("job.finished")
    assert (told["state"], told["phase"]) == ("FAILED", "execution")
    installation.send(Outgoing(b'{"executable": ""}', attributes))
    reply = _reply(installation, "answers")
    assert reply.exit_status is None
    assert "executable" in str(reply.exceptions)


def test_a_reply_topic_that_is_gone_stops_nothing(
    installation: Installation, start_executor: Start
) -> None:
    executor = start_executor()
    attributes = {"job": "raw-3", "reply_to": "nowhere"}
    installation.send(Outgoing(b'{"executable": "true"}', attributes))
    installation.submit(launch(1, py_task("time.sleep", 0)))
    installation.finished()
    wait_until(lambda: executor.running_jobs == 0, what="both acks")
    executor.stop()
    assert installation.waiting_jobs() == []


def test_a_raw_job_whose_reply_would_leave_the_project_is_rejected(
    installation: Installation, start_executor: Start, tmp_path: Path
) -> None:
    executor = start_executor()
    attributes = {"job": "raw-4", "reply_to": "projects/other/topics/answers"}
    body = {"executable": "touch", "args": [str(tmp_path / "ran")]}
    installation.send(Outgoing(json.dumps(body).encode(), attributes))
    rejected = installation.event("job.rejected")
    assert rejected["id"] == "raw-4"
    assert "reply_to 'projects/other/topics/answers' is refused" in rejected["reason"]
    executor.stop()
    assert installation.waiting_jobs() == []
    assert not (tmp_path / "ran").exists()


def test_a_wrong_value_of_env_or_options_is_not_shown(
    installation: Installation, start_executor: Start
) -> None:
    start_executor()
    body = {"executable": "true", "env": {"TOKEN": 12345}, "options": "hunter2"}
    installation.send(Outgoing(json.dumps(body).encode(), {"job": "raw-5"}))
    reason = installation.event("job.rejected")["reason"]
    assert "env.TOKEN is ***" in reason
    assert "options is ***" in reason
    assert "12345" not in reason
    assert "hunter2" not in reason


def _reply(installation: Installation, subscription: str) -> Reply:
    found: list[Any] = wait_until(
        lambda: installation.take(subscription, 1.0), what=f"a reply on {subscription}"
    )
    assert len(found) == 1
    assert found[0].attributes["job"] == decode_reply(found[0].data).job
    return decode_reply(found[0].data)
