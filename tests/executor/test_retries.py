"""Jobs that failed, and wait to run again."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executor.backoff import Backoff
from executor.daemon import Executor
from executor.retrying import pause_before
from messaging.retries import Cause, Failure, Retries
from messaging.wire import decode_job
from tests.executor.installation import Installation
from tests.executor.workflows import launch, py_task
from tests.services.mongodb import free_port
from tests.waiting import wait_until

Start = Callable[..., Executor]

_WAITED_LONG = [
    Failure(executor="another", cause="infrastructure", reason="away", time=0.0) for _ in range(20)
]


def fails_once(mark: Path) -> dict[str, Any]:
    """A task that fails if `mark` is not there, and makes it."""
    return {"_fw_name": "CommandTask", "command": f"test -e {mark} || {{ touch {mark}; exit 3; }}"}


def without_store() -> dict[str, Any]:
    """A task whose store is away."""
    url = f"http://127.0.0.1:{free_port()}"
    options = {"url": url, "retry_seconds": 0}
    task = {"_fw_name": "CommandTask", "command": "true", "inputs": ["x"], "storage": "fsspec"}
    return {**task, "options": options}


def test_an_error_runs_again_if_the_job_says_so(
    installation: Installation, start_executor: Start, tmp_path: Path
) -> None:
    start_executor()
    installation.submit(launch(1, fails_once(tmp_path / "mark"), retries=Retries(error=1)))
    [finished] = installation.finished()
    assert finished.state == "COMPLETED"
    assert "exit code 3" in installation.event("job.released")["reason"]
    assert [event["state"] for event in installation.seen("job.finished")] == ["COMPLETED"]


def test_an_error_fizzles_at_once_by_default(
    installation: Installation, start_executor: Start, tmp_path: Path
) -> None:
    start_executor()
    installation.submit(launch(1, fails_once(tmp_path / "mark")))
    [finished] = installation.finished()
    assert finished.state == "FIZZLED"
    assert "history" not in finished.action["stored_data"]["_exception"]["_details"]
    assert not installation.seen("job.released")


def test_a_job_that_waits_to_run_again_takes_no_slot_and_goes_at_once_at_a_stop(
    installation: Installation, start_executor: Start
) -> None:
    executor = start_executor()
    # By now its pause is half a minute at least.
    installation.submit(launch(1, without_store(), history=_WAITED_LONG))
    released = installation.event("job.released")
    installation.submit(launch(2, py_task("time.sleep", 0)))
    assert [update.launch_id for update in installation.finished()] == [2]
    wait_until(lambda: executor.running_jobs == 0, what="the ack")
    wait_until(lambda: executor.idle_seconds > 0.1, what="idleness")
    executor.stop()
    [waiting] = installation.waiting_jobs(timeout=5.0)
    again = decode_job(waiting.data)
    assert again.history[:-1] == _WAITED_LONG
    assert again.history[-1].executor == executor.id
    assert released["reason"].startswith(again.history[-1].reason)


def test_a_job_that_is_cancelled_while_it_waits_does_not_run_again(
    installation: Installation, start_executor: Start
) -> None:
    executor = start_executor()
    job = launch(1, without_store(), history=_WAITED_LONG)
    installation.submit(job)
    installation.event("job.released")
    installation.cancel(job)
    # The same listener has heard the cancel when it refuses this one.
    installation.submit(job.model_copy(update={"history": []}))
    installation.event("job.cancelled")
    executor.stop()
    installation.wait(lambda: len(installation.seen("job.cancelled")) == 2, 20.0, "both cancels")
    assert installation.waiting_jobs() == []


@given(st.sampled_from(["infrastructure", "crash", "error"]), st.integers(0, 10_000))
def test_pauses_grow_up_to_a_bound(cause: Cause, before: int) -> None:
    longest = 60.0 if cause == "infrastructure" else 8.0
    assert 0.25 <= pause_before(cause, before) <= longest
    assert pause_before(cause, before + 2) > pause_before(cause, before) or before > 2


def test_the_default_retries_are_enough_for_about_half_an_hour() -> None:
    tries = range(Retries().infrastructure)
    waited = sum(pause_before("infrastructure", before) for before in tries)
    assert 1500 < waited < 2100


def test_what_backs_off_is_done_in_the_order_in_which_it_is_due() -> None:
    done: list[int] = []
    backoff = Backoff(on_death=pytest.fail)
    for number in (3, 1, 2):
        backoff.after(number / 10, functools.partial(done.append, number))
    backoff.after(0.0, lambda: done.append(0))
    assert done == [0]
    backoff.start()
    wait_until(lambda: len(done) == 4, what="all")
    assert done == [0, 1, 2, 3]
    backoff.stop()


def test_a_backoff_that_is_told_to_hurry_keeps_nothing_and_waits_for_nothing() -> None:
    done: list[int] = []
    backoff = Backoff(on_death=pytest.fail)
    backoff.start()
    backoff.after(600.0, lambda: done.append(1))
    backoff.stop()
    assert done == [1]
    backoff.after(600.0, lambda: done.append(2))
    assert done == [1, 2]


def test_an_action_that_fails_is_told_of() -> None:
    told = threading.Event()
    backoff = Backoff(on_death=lambda _what: told.set())
    backoff.start()
    backoff.after(0.01, _fail)
    assert told.wait(20)


def _fail() -> None:
    raise ValueError("as the test wants it")
