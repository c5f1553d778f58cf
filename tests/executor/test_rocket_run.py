"""FireWorks' Rocket on the LaunchPadProxy, in a real child process."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from executor.records import (
    Done,
    LaunchPing,
    TaskEvent,
)
from tests.executor import workflows
from tests.executor.conversation import Conversation
from tests.executor.workflows import launch, py_task


def test_a_launch_ends_as_its_rocket_says(talk: Conversation) -> None:
    task = py_task("builtins.sum", [1, 2], outputs=["total"], stored_data_varname="kept")
    ended = talk.run(launch(1, task))
    assert ended.state == "COMPLETED"
    assert ended.action["update_spec"] == {"total": 3}
    assert ended.action["stored_data"] == {"kept": 3}
    assert ended.launch_dir == str(talk.directory)
    assert (ended.phase, ended.reason) == (None, None)


def test_the_output_of_a_launch_lies_in_its_directory(talk: Conversation) -> None:
    script = {
        "_fw_name": "ScriptTask",
        "script": ["echo out; echo err >&2"],
        "use_shell": True,
        "shell_exe": "/bin/sh",
    }
    talk.run(launch(1, py_task("builtins.print", "python"), script))
    assert (talk.directory / "FW_job.out").read_text() == "python\nout\n"
    assert (talk.directory / "FW_job.error").read_text() == "err\n"
    talk.run(launch(2, py_task("time.sleep", 0)))
    assert [path.name for path in talk.directory.iterdir()] == ["FW.json"]


def test_execution_is_told_of_for_every_task(talk: Conversation) -> None:
    talk.run(launch(1, py_task("time.sleep", 0), py_task("missing.function")))
    told = talk.events()
    assert [name for name, _ in told] == [
        "job.execution.started",
        "job.execution.finished",
    ] * 2
    good, bad = told[1][1], told[3][1]
    assert (good["executable"], good["exit_code"]) == ("PyTask", 0)
    assert 0 <= good["metrics"]["cpu_seconds"] < 5
    assert "output" not in good
    assert good["time"] >= 0
    assert bad["exit_code"] == 1
    assert bad["error"] == "ModuleNotFoundError: No module named 'missing'"
    assert bad["output"].startswith("Traceback (most recent call last):")
    assert bad["output"].splitlines()[-1] == bad["error"]


def test_a_failing_task_is_stored_as_fireworks_stores_it(talk: Conversation) -> None:
    ended = talk.run(launch(1, py_task("missing.function")))
    assert ended.state == "FIZZLED"
    stored = ended.action["stored_data"]
    assert stored["_message"] == "runtime error during task"
    assert stored["_task"]["func"] == "missing.function"
    assert stored["_exception"]["_stacktrace"].endswith("No module named 'missing'\n")
    assert ended.phase == "execution"
    assert ended.reason == "ModuleNotFoundError: No module named 'missing'"


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ({"_fw_name": "{{no_such_package.Task}}"}, "No module named 'no_such_package'; install"),
        ({"_fw_name": "NoSuchTask"}, "could not find a class"),
        ({"_fw_name": "PyTask"}, "Required parameter func"),
        ({"func": "print"}, "it has no _fw_name"),
    ],
)
def test_a_task_that_cannot_be_loaded_fizzles_with_a_reason(
    talk: Conversation, task: dict[str, Any], expected: str
) -> None:
    ended = talk.run(launch(1, task))
    assert ended.state == "FIZZLED"
    assert ended.reason is not None
    assert expected in ended.reason
    assert "\n" not in ended.reason
    assert ended.action["stored_data"]["_message"] == ended.reason
    assert ended.phase == "job"


def test_a_broken_document_and_a_firework_without_tasks_fizzle(talk: Conversation) -> None:
    broken = launch(1).model_copy(update={"firework": {"spec": {}}})
    assert "spec._tasks is missing" in str(talk.run(broken).reason)
    assert "has no tasks" in str(talk.run(launch(2)).reason)
    assert talk.run(launch(3, py_task("time.sleep", 0))).state == "COMPLETED"


def test_a_task_may_use_what_the_proxy_can_do(talk: Conversation) -> None:
    task = {"_fw_name": "{{tests.executor.workflows.LaunchPadUser}}"}
    ended = talk.run(launch(7, task, spec={"_add_launchpad_and_fw_id": True}))
    assert ended.state == "COMPLETED"
    assert ended.action["stored_data"] == {"fw_id": 7, "has_wfs": False}


def test_a_task_that_needs_the_database_fails_with_a_clear_reason(talk: Conversation) -> None:
    task = {"_fw_name": "{{tests.executor.workflows.LaunchPadUser}}", "query": True}
    ended = talk.run(launch(7, task, spec={"_add_launchpad_and_fw_id": True}))
    assert ended.state == "FIZZLED"
    assert "needs the LaunchPad's database" in str(ended.reason)
    assert "launchpad.fireworks; run this Firework with rlaunch" in str(ended.reason)


def test_trackers_are_read_in_the_launch_directory(talk: Conversation) -> None:
    tracker = {"filename": "log.txt", "nlines": 2, "allow_zipped": False}
    job = launch(1, py_task(workflows.note, "log.txt", "a\nb\nc"), trackers=[tracker])
    assert talk.run(job).trackers == [{**tracker, "content": "b\nc"}]


def test_checkpoints_of_later_tasks_are_sent_at_once_and_the_last_one_with_the_end(
    talk: Conversation,
) -> None:
    first = py_task("builtins.sum", [1], stored_data_varname="one")
    ended = talk.run(launch(1, first, py_task("missing.function")))
    pings = [record for record in talk.records if isinstance(record, LaunchPing)]
    assert [ping.checkpoint and ping.checkpoint["_task_n"] for ping in pings] == [1]
    assert ended.checkpoint is not None
    assert ended.checkpoint["_task_n"] == 1
    assert ended.checkpoint["_all_stored_data"] == {"one": 1}


def test_a_job_of_one_short_task_sends_no_ping(talk: Conversation) -> None:
    talk.run(launch(1, py_task("time.sleep", 0)))
    assert not [record for record in talk.records if isinstance(record, LaunchPing)]


def test_a_launch_dir_of_its_own_is_reported(talk: Conversation, tmp_path: Path) -> None:
    own = tmp_path / "own"
    job = launch(1, py_task(workflows.note, "here"), spec={"_launch_dir": str(own)})
    assert talk.run(job).launch_dir == str(own)
    assert (own / "here").exists()


def test_a_job_does_not_see_what_the_last_one_did_to_the_process(talk: Conversation) -> None:
    before = talk.run(launch(1, py_task(workflows.surroundings, stored_data_varname="it")))
    talk.run(launch(2, py_task(workflows.spoil_surroundings)))
    after = talk.run(launch(3, py_task(workflows.surroundings, stored_data_varname="it")))
    assert after.action["stored_data"] == before.action["stored_data"]
    assert (talk.directory / "FW_job.out").read_text() == "still heard\n"
    # And it can still be interrupted.
    talk.start(launch(4, py_task("time.sleep", 60)))
    assert isinstance(talk.child.receive(), TaskEvent)
    talk.child.interrupt()
    assert talk.end() == Done(None)


def test_sigterm_ends_a_process_that_a_task_has_forked(talk: Conversation) -> None:
    task = py_task(workflows.exit_code_of_a_terminated_process, stored_data_varname="it")
    ended = talk.run(launch(1, task))
    assert ended.action["stored_data"] == {"it": -signal.SIGTERM}


def test_tasks_may_use_multiprocessing(talk: Conversation) -> None:
    task = py_task(workflows.squares_in_processes, stored_data_varname="it")
    assert talk.run(launch(1, task)).action["stored_data"] == {"it": [1, 2]}
