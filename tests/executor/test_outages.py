"""Infrastructure that is away while a job runs, and comes back or does not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from executor.daemon import Executor
from messaging.pubsub import Outgoing
from messaging.retries import Retries
from messaging.wire import decode_reply
from tests.executor.installation import Installation
from tests.executor.workflows import launch
from tests.services import web
from tests.services.mongodb import free_port
from tests.waiting import wait_until

Start = Callable[..., Executor]


def task(url: str, **parameters: Any) -> dict[str, Any]:
    """A CommandTask with an input in a store at `url`, which is not asked twice."""
    return {
        "_fw_name": "CommandTask",
        "command": ["cat", "words"],
        "inputs": ["words"],
        "storage": "fsspec",
        "options": {"url": url, "retry_seconds": 0},
        **parameters,
    }


def test_a_store_that_is_back_at_the_next_delivery_costs_nothing(
    installation: Installation, start_executor: Start, tmp_path: Path
) -> None:
    start_executor()
    (tmp_path / "store").mkdir()
    (tmp_path / "store/words").write_text("a b")
    port = free_port()
    installation.submit(launch(1, task(f"http://127.0.0.1:{port}")))
    released = installation.update("released")
    assert "words" in released.reason
    assert "(infrastructure, retry 1 of 45)" in released.reason
    with web.serving(tmp_path / "store", port=port):
        [finished] = installation.finished(timeout=40)
    assert finished.state == "COMPLETED"
    assert installation.event("job.finished")["state"] == "COMPLETED"
    assert len(installation.seen("job.finished")) == 1
    assert installation.event("job.released")["reason"] == released.reason


def test_a_store_that_stays_away_fizzles_its_job_at_the_last_attempt(
    installation: Installation, start_executor: Start
) -> None:
    executor = start_executor()
    url = f"http://127.0.0.1:{free_port()}"
    installation.submit(launch(1, task(url), retries=Retries(infrastructure=1)))
    [finished] = installation.finished(timeout=40)
    assert finished.state == "FIZZLED"
    details = finished.action["stored_data"]["_exception"]["_details"]
    assert "; given up after 2 attempts: 2 x infrastructure (" in details["reason"]
    assert [failure["executor"] for failure in details["history"]] == [executor.id] * 2
    assert details["retry"] is True
    event = installation.event("job.finished")
    assert (event["phase"], event["reason"]) == ("stage-in", details["reason"])
    wait_until(lambda: executor.running_jobs == 0, what="the ack")
    executor.stop()
    assert installation.waiting_jobs() == []


@pytest.mark.parametrize("policy", ["fizzle", "retry"])
def test_a_raw_job_that_meets_an_outage_runs_again_or_is_answered(
    installation: Installation, start_executor: Start, policy: str
) -> None:
    start_executor(on_outage=policy)
    box = installation.names.reply("box")
    installation.pubsub.create_topic(box)
    installation.pubsub.create_subscription(box, box)
    job = {
        "executable": "cat",
        "args": ["words"],
        "inputs": [{"name": "words"}],
        "options": {
            "storage": "fsspec",
            "url": f"http://127.0.0.1:{free_port()}",
            "retry_seconds": 0,
        },
    }
    installation.send(Outgoing(json.dumps(job).encode(), {"job": "raw", "reply_to": box}))
    if policy == "retry":
        assert "it will run again" in installation.event("job.released")["reason"]
    else:
        [received] = wait_until(lambda: installation.pubsub.pull(box, 1, 5.0), what="the reply")
        [reason] = decode_reply(received.data).exceptions or []
        assert reason.startswith("stage-in: ")
        assert "words" in reason
        assert not installation.seen("job.released")


def test_an_outage_in_a_later_task_runs_the_whole_firework_again(
    installation: Installation, start_executor: Start, tmp_path: Path
) -> None:
    start_executor()
    notes = tmp_path / "notes"
    first = {"_fw_name": "CommandTask", "command": f"echo ran >> {notes}"}
    url = f"http://127.0.0.1:{free_port()}"
    installation.submit(launch(1, first, task(url), retries=Retries(infrastructure=1)))
    [finished] = installation.finished(timeout=40)
    assert finished.state == "FIZZLED"
    assert notes.read_text() == "ran\nran\n"
