"""What containers print, in the executor's log."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from executor.daemon import Executor
from executor.records import TaskOutput
from executor.task_log import TASK_LOGGER, TaskLog
from tests.executor.engine import Engine
from tests.executor.installation import Installation, held
from tests.executor.workflows import launch

Start = Callable[..., Executor]


def test_lines_of_a_task_are_logged_while_somebody_listens(
    installation: Installation,
    start_executor: Start,
    engine: Engine,
    caplog: pytest.LogCaptureFixture,
    store: dict[str, Any],
) -> None:
    caplog.set_level(logging.DEBUG, logger="portfire.task")
    executor = start_executor(**store)
    job = engine.name("job")
    line = "echo one; echo two >&2"
    installation.submit(launch(1, engine.task(line), job=job, name="speaker"))
    installation.finished(timeout=40)
    records = {r.getMessage(): r for r in caplog.records if r.name == "portfire.task"}
    assert set(records) == {f"{job}: one", f"{job}: two"}
    labels = vars(records[f"{job}: two"])
    assert labels["executor"] == executor.id
    assert (labels["pool"], labels["job"], labels["job_name"]) == ("default", job, "speaker")
    assert labels["stream"] == "stderr"


def test_lines_that_were_left_out_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger=TASK_LOGGER)
    log = TaskLog("executor-1", "default")
    log.write(held(launch(1)), TaskOutput([("stdout", "late")], 17))
    assert [record.getMessage() for record in caplog.records] == [
        "job-1: 17 lines left out here: more than the log takes",
        "job-1: late",
    ]


def test_a_line_is_no_format(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger=TASK_LOGGER)
    TaskLog("executor-1", "default").write(held(launch(1)), TaskOutput([("stdout", "100%s %")], 0))
    assert caplog.records[0].getMessage() == "job-1: 100%s %"


@pytest.mark.parametrize("flags", [[], ["--log-tasks"]])
def test_the_command_shows_them_when_told_to(
    installation: Installation, engine: Engine, tmp_path: Path, flags: list[str]
) -> None:
    environ = {
        **os.environ,
        "PUBSUB_EMULATOR_HOST": installation.broker.address,
        "PORTFIRE_WORKDIR": str(installation.workdir),
        "PYTHONPATH": os.pathsep.join(sys.path),
        "THREADS": "1",
    }
    command = [sys.executable, "-m", "portfire", "executor", *flags]
    with subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True) as program:
        try:
            installation.event("executor.ready", timeout=40)
            task = engine.task("echo hello", storage="nfs", workdir=str(tmp_path))
            installation.submit(launch(1, task, job=engine.name("job")))
            assert installation.finished(timeout=40)[0].state == "COMPLETED"
        finally:
            program.terminate()
        assert program.stderr is not None
        said = program.stderr.read()
    assert said.count(f"{engine.name('job')}: hello\n") == len(flags)
