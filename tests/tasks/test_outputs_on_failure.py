"""Outputs that a job wants stored also when its program fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from executor.capture import Output, parse_outputs
from executor.raw_job import run_raw_job
from messaging.errors import JobInterrupted
from messaging.wire import RawJob, decode_job
from storage_backends.paths import PathError
from tests.tasks.commands import failure, run
from tests.tasks.conftest import RecordingContext

FAILS = "mkdir -p tree && echo 1 | tee result core tree/part; exit 3"


def stored(store: Path) -> set[str]:
    return {str(path.relative_to(store)) for path in store.rglob("*") if path.is_file()}


def test_what_is_wanted_on_failure_is_stored_if_it_is_there(
    context: RecordingContext, store: Path
) -> None:
    error = failure(
        FAILS,
        outputs=["result", "other"],
        outputs_on_failure=["core", "tree/", "result", "not/there", "empty/", ">printed"],
    )
    assert error.reason.startswith("'mkdir -p tree")
    assert stored(store) == {"core", "tree/part", "result", "printed"}
    assert (store / "printed").read_text() == "1\n"
    assert context.asked == 1


def test_after_a_success_only_outputs_are_stored_and_no_other_is_missed(
    context: RecordingContext, store: Path
) -> None:
    run(
        "echo 1 | tee result core",
        outputs=["result"],
        outputs_on_failure=["core", "result", "none"],
    )
    assert stored(store) == {"result"}
    assert context.asked == 1


def test_nothing_is_stored_of_a_failed_job_that_is_no_longer_ours(
    context: RecordingContext, store: Path
) -> None:
    context.lease_is_lost = True
    with pytest.raises(JobInterrupted):
        run(FAILS, outputs_on_failure=["core"])
    assert stored(store) == set()


def test_an_output_on_failure_cannot_lead_outside(
    context: RecordingContext, store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    error = failure(
        "ln -s /etc/hosts core; echo 1 > good; exit 3", outputs_on_failure=["core", "good"]
    )
    assert "exit code 3" in error.reason
    assert stored(store) == {"good"}
    assert "could not store output core" in caplog.text
    assert context.asked == 1


def test_an_output_of_a_raw_job_may_be_wanted_on_failure(
    context: RecordingContext, store: Path, launch_directory: Path
) -> None:
    outputs = [{"name": "core", "on_failure": True}, {"name": "result"}]
    job = decode_job(
        json.dumps({"executable": "sh", "args": ["-c", FAILS], "outputs": outputs}).encode()
    )
    assert isinstance(job, RawJob)
    reply = run_raw_job(job, "job-1", launch_directory).reply
    assert reply.exit_status == 3
    assert stored(store) == {"core"}
    assert context.asked == 1


def test_outputs_are_told_from_those_on_failure() -> None:
    assert parse_outputs(["a", ">b"], ["b", "c", "a"]) == (
        Output("a", on_failure=True),
        Output("b", ">", on_failure=True),
        Output("c", on_success=False, on_failure=True),
    )
    (log,) = parse_outputs([">>log"], ["log"])
    assert log.name.endswith("_log")
    assert log.on_success


@pytest.mark.parametrize(
    ("outputs", "on_failure"),
    [(["a"], ["a", "a"]), (["a"], [">a"]), (["a/"], ["a"]), (["a"], ["../a"]), (["a"], [7])],
)
def test_outputs_on_failure_are_checked_like_outputs(
    outputs: list[object], on_failure: list[object]
) -> None:
    with pytest.raises(PathError):
        parse_outputs(outputs, on_failure)
