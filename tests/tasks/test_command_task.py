"""CommandTask as Fireworks use it: staging, events, results, failures."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from fireworks import Firework
from fireworks.utilities.fw_serializers import load_object

from executor.command_task import CommandTask
from executor.context import use_context
from executor.task_names import register_task_names
from tests.tasks.commands import failure, run
from tests.tasks.conftest import RecordingContext

ALL_PHASES = [
    "stage-in.started",
    "stage-in.finished",
    "execution.started",
    "execution.finished",
    "stage-out.started",
    "stage-out.finished",
]


def test_inputs_come_and_outputs_go(context: RecordingContext, store: Path) -> None:
    (store / "texts").mkdir()
    (store / "texts/a.txt").write_text("one two\n")
    action = run(
        "wc -w < texts/a.txt > counts/a; mkdir -p tree/empty; echo x > tree/x",
        inputs=["texts/a.txt"],
        outputs=["counts/a", "tree/"],
    )
    assert (store / "counts/a").read_text().strip() == "2"
    assert (store / "tree/x").read_text() == "x\n"
    assert (store / "tree/empty").is_dir()
    assert action.stored_data["exit_code"] == 0
    assert action.stored_data["bytes"] == {"stage_in": 8, "stage_out": 4}
    assert context.types == ALL_PHASES
    assert context.asked == 1


def test_events_say_time_bytes_and_what_ran(context: RecordingContext, store: Path) -> None:
    (store / "a").write_text("1234")
    run(["cp", "a", "b"], inputs=["a"], outputs=["b"])
    for stage in ("stage-in.finished", "stage-out.finished"):
        assert context.fields(stage)["bytes"] == 4
        assert context.fields(stage)["backend"] == "nfs"
        assert context.fields(stage)["time"] >= 0
    execution = context.fields("execution.finished")
    assert execution["executable"] == "cp"
    assert execution["exit_code"] == execution["exit_status"] == 0
    assert execution["metrics"]["seconds"] >= 0
    assert execution["metrics"]["cpu_seconds"] >= 0


def test_the_private_directory_is_gone_afterwards(
    context: RecordingContext, store: Path, launch_directory: Path
) -> None:
    (store / "a").write_text("1")
    run("pwd > b; mkdir locked; touch locked/x; chmod 0 locked", inputs=["a"], outputs=["b"])
    ran_in = Path((store / "b").read_text().strip())
    assert ran_in.is_relative_to(launch_directory)
    assert list(launch_directory.iterdir()) == []
    failure("exit 1", inputs=["a"])
    assert list(launch_directory.iterdir()) == []
    assert context.asked == 1


def test_without_files_it_runs_in_the_launch_directory(
    context: RecordingContext, launch_directory: Path
) -> None:
    run(["/bin/sh", "-c", "echo made > here"])
    assert [path.name for path in launch_directory.iterdir()] == ["here"]
    assert context.types == ["execution.started", "execution.finished"]


def test_local_storage_is_worked_in_directly(context: RecordingContext, store: Path) -> None:
    context.storage = "local"
    (store / "run").mkdir()
    (store / "run/a").write_text("1")
    run("pwd > b; cat a >> b", inputs=["a"], outputs=["b", ">log"], storage_prefix="run")
    assert (store / "run/b").read_text() == f"{store}/run\n1"
    assert (store / "run/log").read_text() == ""
    assert context.types == ["execution.started", "execution.finished"]
    error = failure("true", inputs=["missing"])
    assert error.phase == "stage-in"
    assert "'missing'" in error.reason
    assert "'b2'" in failure("true", outputs=["b2"]).reason


@pytest.mark.parametrize("storage", ["local", "nfs"])
def test_a_symlink_in_the_storage_leads_nobody_out_of_it(
    context: RecordingContext, store: Path, tmp_path: Path, storage: str
) -> None:
    context.storage = storage
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("1")
    (store / "out").symlink_to(outside)
    cases: list[dict[str, Any]] = [
        {"inputs": ["out/secret"]},
        {"inputs": ["secret"], "storage_prefix": "out"},
        {"outputs": ["out/new"]},
    ]
    for parameters in cases:
        error = failure("mkdir -p out; echo 1 > out/new", **parameters)
        assert "by a symbolic link" in error.reason
    assert [path.name for path in outside.iterdir()] == ["secret"]


def test_an_output_that_becomes_a_symlink_to_outside_is_refused_on_local_storage(
    context: RecordingContext,
) -> None:
    context.storage = "local"
    error = failure("ln -s /etc/passwd out", outputs=["out"])
    assert error.phase == "stage-out"
    assert "by a symbolic link" in error.reason


@pytest.mark.parametrize("output", ["res", "tree/"])
def test_an_output_of_an_earlier_run_is_not_taken_for_this_ones(
    context: RecordingContext, store: Path, output: str
) -> None:
    context.storage = "local"
    (store / "tree/deep").mkdir(parents=True)
    for old in (store / "res", store / "tree/deep/a"):
        old.write_text("old")
    error = failure(["true"], outputs=[output])
    assert error.phase == "stage-out"
    assert f"did not write its output '{output}' (an older one is there)" in error.reason
    # Written all the same: contents, size and time as before.
    run("cp -p res copy; cat copy > res; touch -r copy res; rm copy", outputs=["res"])
    run("rm tree/deep/a; touch tree/deep/b", outputs=["tree/"])


def test_an_input_that_is_an_output_too_may_stay_as_it_is(
    context: RecordingContext, store: Path
) -> None:
    context.storage = "local"
    (store / "res").write_text("old")
    run(["true"], inputs=["res"], outputs=["res"])


def test_plain_rlaunch_needs_no_executor(launch_directory: Path) -> None:
    (launch_directory / "a").write_text("1\n")
    action = run("cat a a > b", inputs=["a"], outputs=["b"])
    assert (launch_directory / "b").read_text() == "1\n1\n"
    assert action.stored_data["exit_code"] == 0


def test_env_stdin_stdout_and_stderr(context: RecordingContext, store: Path) -> None:
    (store / "words").write_text("b\na\n")
    run(
        "sort; echo $GREETING $NUMBER >&2",
        env={"GREETING": "hello", "NUMBER": 7},
        inputs=["words"],
        stdin="words",
        stdout="out/sorted",
        stderr="errors",
        outputs=["out/sorted", "errors"],
    )
    assert (store / "out/sorted").read_text() == "a\nb\n"
    assert (store / "errors").read_text() == "hello 7\n"
    assert context.types == ALL_PHASES


def test_captured_output_is_stored_on_success_only(context: RecordingContext, store: Path) -> None:
    run("echo out; echo err >&2", outputs=[">seen.txt"])
    assert (store / "seen.txt").read_text() == "out\nerr\n"
    failure("echo out; exit 1", outputs=["> not.txt"])
    assert not (store / "not.txt").exists()
    assert context.asked == 1


def test_a_log_is_stored_also_when_the_task_fails(context: RecordingContext, store: Path) -> None:
    error = failure("echo said; exit 9", outputs=[">>logs/task.log", "result"])
    assert error.phase == "execution"
    (log,) = (store / "logs").iterdir()
    assert log.name.endswith("_task.log")
    text = log.read_text()
    assert text.index("CommandTask") < text.index("said\n") < text.index("FAILED")
    assert "exit code 9" in text
    assert context.types[-1] == "execution.finished"
    assert not (store / "result").exists()


def test_a_log_that_cannot_be_stored_does_not_hide_the_failure(
    context: RecordingContext, store: Path
) -> None:
    (store / "logs").write_text("a file where the directory should be")
    error = failure("exit 9", outputs=[">>logs/task.log"])
    assert "exit code 9" in error.reason
    assert context.types[-1] == "execution.finished"


def test_the_executors_default_timeout_holds(context: RecordingContext) -> None:
    context.default_timeout = 0.3
    assert "timed out after 0.3 s" in failure(["sleep", "60"]).reason


def test_it_travels_through_fireworks_by_its_full_and_its_short_name() -> None:
    firework = Firework([CommandTask(command=["true"])])
    again = Firework.from_dict(json.loads(json.dumps(firework.to_dict())))
    assert type(again.tasks[0]) is CommandTask
    register_task_names()
    assert type(load_object({"_fw_name": "CommandTask", "command": "true"})) is CommandTask


def test_contexts_end_with_their_block(context: RecordingContext) -> None:
    inner = RecordingContext(storage="local")
    with use_context(inner):
        run("true")
    run("true")
    assert len(inner.events) == len(context.events) == 2


def test_a_job_cannot_see_another_programs_mark(context: RecordingContext, store: Path) -> None:
    run("echo $PORTFIRE_PROGRAM", outputs=[">one"])
    run("echo $PORTFIRE_PROGRAM", outputs=[">two"])
    assert (store / "one").read_text() != (store / "two").read_text()
    assert "PORTFIRE_PROGRAM" not in os.environ
    assert context.asked == 2
