"""Raw HyperFlow jobs: options, replies, metrics."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from executor.raw_job import run_raw_job
from messaging.errors import JobInterrupted
from messaging.wire import RawJob, Reply, decode_job, decode_reply
from tests.tasks.conftest import RecordingContext


def run(directory: Path, **fields: Any) -> Reply:
    job = decode_job(json.dumps(fields).encode())
    assert isinstance(job, RawJob)
    reply = run_raw_job(job, "job-1", directory).reply
    assert decode_reply(reply.encode()) == reply
    return reply


def named(*names: str) -> list[dict[str, str]]:
    return [{"name": name} for name in names]


def test_a_job_is_staged_run_and_answered(
    context: RecordingContext, store: Path, launch_directory: Path
) -> None:
    (store / "a").write_text("1 2\n")
    reply = run(
        launch_directory,
        executable="sh",
        args=["-c", "cp a b; echo said; echo $X >&2"],
        env={"X": "warned"},
        inputs=named("a"),
        outputs=named("b"),
    )
    assert (store / "b").read_text() == "1 2\n"
    assert reply.job == "job-1"
    assert reply.exit_status == 0
    assert reply.stdout == "said\n"
    assert reply.stderr == "warned\n"
    assert reply.exceptions is None
    assert len(context.types) == 6
    assert list(launch_directory.iterdir()) == []


def test_metrics_have_hyperflows_keys(
    context: RecordingContext, store: Path, launch_directory: Path
) -> None:
    (store / "a").write_text("12")
    metrics = run(
        launch_directory, executable="cp", args="a b", inputs=named("a"), outputs=named("b")
    ).metrics
    assert metrics["input_size"] == metrics["output_size"] == 2
    assert metrics["executor"] == "executor-1"
    assert metrics["thread"] == 0
    assert all(metrics[phase] >= 0 for phase in ("stage_in", "execution", "stage_out"))
    times = metrics["timestamps"]
    assert list(times) == context.types
    assert list(times.values()) == sorted(times.values())


def test_options_choose_the_storage(
    context: RecordingContext, tmp_path: Path, launch_directory: Path
) -> None:
    context.storage = "local"
    other = tmp_path / "other"
    (other / "run").mkdir(parents=True)
    reply = run(
        launch_directory,
        executable="sh",
        args="-c 'echo 1 > b'",
        outputs=named("b"),
        options={"storage": "nfs", "workdir": str(other), "prefix": "run"},
    )
    assert reply.exceptions is None
    assert (other / "run/b").read_text() == "1\n"


def test_local_storage_runs_in_the_workdir(
    context: RecordingContext, tmp_path: Path, launch_directory: Path
) -> None:
    program = tmp_path / "program"
    program.write_text('#!/bin/sh\npwd; echo "$@" > out')
    program.chmod(0o755)
    reply = run(
        launch_directory,
        executable="program",
        args="'one argument' two",
        outputs=named("out"),
        options={"storage": "local", "workdir": str(tmp_path)},
    )
    assert reply.stdout == f"{tmp_path}\n"
    assert (tmp_path / "out").read_text() == "one argument two\n"
    assert context.types == ["execution.started", "execution.finished"]


def test_stdout_may_go_to_a_file_that_is_an_output(
    context: RecordingContext, store: Path, launch_directory: Path
) -> None:
    reply = run(
        launch_directory,
        executable="echo",
        args="hello",
        stdout="out/said",
        outputs=named("out/said"),
    )
    assert (store / "out/said").read_text() == reply.stdout == "hello\n"
    assert context.asked == 1


def test_a_failure_is_answered_with_the_phase_and_the_reason(
    context: RecordingContext, launch_directory: Path
) -> None:
    reply = run(launch_directory, executable="sh", args="-c 'echo oops >&2; exit 3'")
    assert reply.exit_status == 3
    assert reply.stderr == "oops\n"
    assert reply.exceptions == [
        "execution: 'sh' failed with exit code 3: see the end of its output"
    ]
    assert context.types == ["execution.started", "execution.finished"]


def test_a_signal_is_a_negative_status(context: RecordingContext, launch_directory: Path) -> None:
    reply = run(launch_directory, executable="sh", args="-c 'kill -9 $$'")
    assert reply.exit_status == -9
    assert context.fields("execution.finished")["exit_code"] == -9


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"executable": "no-such-program"}, "no-such-program"),
        ({"executable": "sh", "args": "'open"}, "args"),
        ({"executable": "sh", "inputs": named("missing")}, "missing"),
        ({"executable": "true", "outputs": named("unwritten")}, "unwritten"),
        ({"executable": "true", "inputs": named("../up")}, "../up"),
        ({"executable": "true", "outputs": named("/etc/x")}, "/etc/x"),
        ({"executable": "true", "inputs": named("a", "a")}, "twice"),
        ({"executable": "true", "options": {"storage": "tape"}}, "has cloud, gcs"),
        ({"executable": "true", "options": {"storage": "gcs"}}, "names a bucket"),
        ({"executable": "sleep", "args": "60", "timeout": 0.2}, "timed out after 0.2 s"),
    ],
)
def test_every_failure_is_a_reply_that_names_the_thing(
    context: RecordingContext, launch_directory: Path, fields: dict[str, Any], said: str
) -> None:
    reply = run(launch_directory, **fields)
    assert reply.exceptions is not None
    assert said in reply.exceptions[0]
    assert "\n" not in reply.exceptions[0]
    assert reply.exit_status != 0
    assert list(launch_directory.iterdir()) == []
    assert reply.metrics["executor"] == context.executor


def test_outputs_on_local_storage_without_a_workdir_would_be_lost(launch_directory: Path) -> None:
    reply = run(launch_directory, executable="true", outputs=named("b"))
    assert reply.exceptions is not None
    assert "workdir" in reply.exceptions[0]


def test_long_output_comes_as_its_end(context: RecordingContext, launch_directory: Path) -> None:
    reply = run(launch_directory, executable="seq", args="1000")
    assert reply.stdout.splitlines() == [str(number) for number in range(901, 1001)]
    assert context.events


def test_an_interruption_is_not_a_reply(
    context: RecordingContext, store: Path, launch_directory: Path
) -> None:
    context.lease_is_lost = True
    with pytest.raises(JobInterrupted):
        run(launch_directory, executable="sh", args="-c 'echo > b'", outputs=named("b"))
    assert list(store.iterdir()) == []
