"""A slot's child process: how it is interrupted, how it dies, and what dies with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from executor.records import (
    Done,
)
from tests.executor import workflows
from tests.executor.conversation import Conversation
from tests.executor.workflows import launch, py_task
from tests.waiting import wait_until


@pytest.mark.parametrize("function", [workflows.wait_for_file, workflows.swallow_exceptions])
def test_an_interrupted_job_has_no_outcome(
    talk: Conversation, tmp_path: Path, function: Any
) -> None:
    running = tmp_path / "running"
    arguments = ["/nonexistent", str(running)][-function.__code__.co_argcount :]
    talk.start(launch(1, py_task(function, *arguments)))
    wait_until(running.exists, what="the job")
    talk.child.interrupt()
    assert talk.end() == Done(None)


def test_an_interruption_never_breaks_the_talk_with_the_executor(
    talk: Conversation, tmp_path: Path
) -> None:
    for number in range(25):
        running = tmp_path / f"running-{number}"
        talk.start(launch(number, py_task(workflows.chatter, str(running))))
        wait_until(running.exists, what="the job")
        for _ in range(3 * number):
            assert talk.child.receive() is not None
        talk.child.interrupt()
        assert talk.end() == Done(None)


def test_a_signal_between_two_jobs_does_nothing(talk: Conversation) -> None:
    talk.run(launch(1, py_task("time.sleep", 0)))
    talk.child.interrupt()
    assert talk.run(launch(2, py_task("time.sleep", 0))).state == "COMPLETED"


def test_without_its_lease_a_job_stores_nothing(talk: Conversation, tmp_path: Path) -> None:
    (tmp_path / "go").touch()
    for holds, name in ((True, "first"), (False, "second")):
        talk.holds_lease = holds
        files = [str(tmp_path / part) for part in ("running", "go", name)]
        talk.start(launch(1, py_task(workflows.store_if_allowed, *files)))
        done = talk.end()
        assert done is not None
        assert (done.outcome is not None) is holds
        assert (tmp_path / name).exists() is holds


def test_a_task_finds_the_span_of_its_run_and_the_next_one_does_not(talk: Conversation) -> None:
    tell = "echo ${TRACEPARENT:-none} >> said"
    tasks = (py_task("os.system", tell), {"_fw_name": "CommandTask", "command": tell})
    said = []
    for order in ({"traceparent": "00-11-22-01"}, {}):
        assert talk.run(launch(1, *tasks), **order).state == "COMPLETED"
        said.append((talk.directory / "said").read_text().split())
    assert said == [["00-11-22-01"] * 2, ["none"] * 2]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_the_death_of_a_child_is_noticed_and_named(
    talk: Conversation, tmp_path: Path, number: signal.Signals
) -> None:
    talk.start(launch(1, py_task(workflows.die_once, str(tmp_path / "mark"), int(number))))
    assert talk.end() is None
    assert talk.child.close() == f"was killed by {number.name}"


def test_a_child_that_exits_is_named(talk: Conversation) -> None:
    talk.start(launch(1, py_task("os._exit", 3)))
    assert talk.end() is None
    assert talk.child.close() == "exited with 3"


def test_killing_a_child_kills_what_it_started_in_other_sessions(
    talk: Conversation, tmp_path: Path
) -> None:
    pid_file = tmp_path / "pid"
    talk.start(launch(1, py_task(workflows.leave_program_behind, str(pid_file))))
    pid = int(wait_until(lambda: pid_file.exists() and pid_file.read_text(), what="program"))
    talk.child.kill()
    assert talk.end() is None
    wait_until(lambda: not _runs(pid), what="the program's end")


def test_children_die_with_their_executor(tmp_path: Path) -> None:
    script = f"""
import sys
from executor.nursery import Nursery
from executor.records import ChildOptions, RunLaunch
from tests.executor.workflows import launch, py_task
nursery = Nursery()
nursery.start()
child = nursery.spawn(ChildOptions("tester", 1, "local", {{}}, 60.0))
child.send(RunLaunch(launch(1, py_task("time.sleep", 300)), {str(tmp_path)!r}))
child.receive()
print(child.pid, flush=True)
sys.stdin.read()
"""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    parent = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environ,
        text=True,
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert _runs(pid)
    parent.kill()
    parent.communicate()
    wait_until(lambda: not _runs(pid), what="the child's end")


def test_a_script_without_a_main_guard_is_not_run_again(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from executor.nursery import Nursery\n"
        "from executor.records import ChildOptions\n"
        "print('ran', flush=True)\n"
        "nursery = Nursery()\n"
        "nursery.start()\n"
        "child = nursery.spawn(ChildOptions('tester', 1, 'local', {}, 60.0))\n"
        "print(child.close())\n"
    )
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    output = subprocess.run(
        [sys.executable, str(script)], env=environ, capture_output=True, text=True, timeout=60
    )
    assert output.stdout == "ran\nexited with 0\n"


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
