"""Every job that cannot run: its end says why on one line, to all who ask, and the next one runs.

One installation for all cases: each runs after whatever the ones before it have left.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fireworks import Firework, LaunchPad

from executor.command_task import CommandTask
from executor.docker_task import DockerTask
from tests.acceptance import tasks
from tests.acceptance.installation import Installation, check_line, shell, told
from tests.commands.programs import portfire
from tests.faults.ledger import check_consistent, state_of


@dataclass(frozen=True, kw_only=True)
class Bad:
    """A job that cannot run, as a CommandTask and as a raw job."""

    #: Parameters of the CommandTask.
    task: dict[str, Any]
    #: The raw job that is bad in the same way; none where there is no such.
    raw: dict[str, Any]
    phase: str
    #: What the reason says: the thing, and what to do.
    says: tuple[str, ...] = field(default=())


def _files(*names: str) -> list[dict[str, str]]:
    return [{"name": name} for name in names]


BAD: dict[str, Bad] = {
    "unknown storage": Bad(
        task={"command": ["true"], "inputs": ["x"], "storage": "tape"},
        raw={"executable": "true", "inputs": _files("x"), "options": {"storage": "tape"}},
        phase="stage-in",
        says=("unknown storage backend 'tape'", "this Portfire has"),
    ),
    "no such input": Bad(
        task={"command": ["true"], "inputs": ["missing.txt"]},
        raw={"executable": "true", "inputs": _files("missing.txt")},
        phase="stage-in",
        says=("missing.txt", "No such file"),
    ),
    "input above the job": Bad(
        task={"command": ["true"], "inputs": ["../secret"]},
        raw={"executable": "true", "inputs": _files("../secret")},
        phase="stage-in",
        says=("input '../secret'", "'..' part"),
    ),
    "absolute output": Bad(
        task={"command": ["true"], "outputs": ["/etc/motd"]},
        raw={"executable": "true", "outputs": _files("/etc/motd")},
        phase="stage-in",
        says=("output '/etc/motd' is absolute",),
    ),
    "output not written": Bad(
        task={"command": ["true"], "outputs": ["never.txt"]},
        raw={"executable": "true", "outputs": _files("never.txt")},
        phase="stage-out",
        says=("did not write its output 'never.txt'",),
    ),
    "no such program": Bad(
        task={"command": ["no-such-program"]},
        raw={"executable": "no-such-program"},
        phase="execution",
        says=("'no-such-program' was not found", "install it"),
    ),
    "exits 3": Bad(
        task={"command": ["sh", "-c", "echo why >&2; exit 3"]},
        raw=shell("echo why >&2; exit 3"),
        phase="execution",
        says=("'sh'", "exit code 3", "see the end of its output"),
    ),
    "killed": Bad(
        task={"command": ["sh", "-c", "kill -KILL $$"]},
        raw=shell("kill -KILL $$"),
        phase="execution",
        says=("'sh'", "SIGKILL", "out of memory?"),
    ),
    "too slow": Bad(
        task={"command": ["sleep", "60"], "timeout": 1},
        raw={"executable": "sleep", "args": ["60"], "timeout": 1},
        phase="execution",
        says=("'sleep' timed out after 1 s", "raise timeout"),
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_firework_that_cannot_run_is_fizzled_with_one_line_that_says_why(
    installation: Installation, case: str
) -> None:
    bad = BAD[case]
    installation.launchpad.add_wf(Firework(CommandTask(**bad.task), name=case))
    reason, _ = installation.fizzled(case)
    check_line(reason, bad.says)
    event = installation.finished(name=case)
    assert told(event) == ("FIZZLED", bad.phase, reason)
    installation.run_next()
    check_consistent(installation.launchpad)


@pytest.mark.parametrize("case", BAD)
def test_a_raw_job_that_cannot_run_is_answered_with_one_line_that_says_why(
    installation: Installation, case: str
) -> None:
    bad = BAD[case]
    code, reply = installation.submit(bad.raw)
    assert code == 1
    [text] = reply.exceptions or []
    check_line(text, bad.says)
    assert reply.exit_status != 0
    event = installation.finished(id=reply.job)
    state, phase, reason = told(event)
    assert (state, f"{phase}: {reason}") == ("FAILED", text)
    assert phase == bad.phase
    assert installation.submit({"executable": "true"})[0] == 0
    assert installation.executor.is_alive


def test_an_empty_name_is_refused(installation: Installation) -> None:
    installation.launchpad.add_wf(
        Firework(CommandTask(command=["true"], outputs=[""]), name="empty name")
    )
    reason, _ = installation.fizzled("empty name")
    check_line(reason, ("output '' is empty",))
    assert told(installation.finished(name="empty name")) == ("FIZZLED", "stage-in", reason)
    installation.run_next()


def test_a_docker_engine_that_is_not_there_is_named(installation: Installation) -> None:
    task = DockerTask(
        name="d", image="busybox:1", command=["true"], internal_prefix="/d", storage_prefix=""
    )
    installation.launchpad.add_wf(Firework(task, name="no engine"))
    reason, _ = installation.fizzled("no engine")
    check_line(reason, ("no Docker Engine answers", "/nonexistent/docker.sock", "DOCKER_HOST"))
    assert told(installation.finished(name="no engine")) == ("FIZZLED", "execution", reason)
    installation.run_next()


def test_a_task_class_that_cannot_be_imported_is_named(installation: Installation) -> None:
    installation.launchpad.add_wf(Firework(tasks.FromNowhere(), name="no class"))
    reason, _ = installation.fizzled("no class")
    check_line(reason, ("no.such.module", "cannot be loaded on the executor"))
    assert told(installation.finished(name="no class")) == ("FIZZLED", "job", reason)
    installation.run_next()


def test_a_firework_over_10_mb_is_fizzled_with_what_to_do(installation: Installation) -> None:
    installation.launchpad.add_wf(tasks.script("big", big="x" * 11_000_000))
    reason, _ = installation.fizzled("big")
    check_line(reason, ("bytes", "over Pub/Sub's limit"))
    installation.run_next()


def test_an_action_that_cannot_be_applied_fizzles_its_firework(installation: Installation) -> None:
    workflow = tasks.with_child(tasks.PushOntoText(), "pusher", {"list": "a text"})
    installation.launchpad.add_wf(workflow)
    reason, stored = installation.fizzled("pusher")
    # As FireWorks itself stores it: the cause is the last line of the stack trace.
    assert reason == "runtime error during task"
    last = stored["_exception"]["_stacktrace"].splitlines()[-1]
    check_line(last, ("AttributeError", "'str' object has no attribute 'append'"))
    assert state_of(installation.launchpad, "child of pusher") == "WAITING"
    # The executor cannot know what becomes of the action; the dispatcher has the last word.
    event = installation.finished(name="pusher", state="FIZZLED", executor="dispatcher")
    assert "'str' object has no attribute 'append'" in str(event.reason)  # type: ignore[attr-defined]
    installation.run_next()
    check_consistent(installation.launchpad)


@pytest.mark.parametrize("case", ["big", "pusher"])
def test_a_run_names_the_reason_of_what_no_executor_could_know(
    launchpad: LaunchPad, tmp_path: Path, case: str
) -> None:
    if case == "big":
        launchpad.add_wf(tasks.script("big", big="x" * 11_000_000))
    else:
        launchpad.add_wf(tasks.with_child(tasks.PushOntoText(), "pusher", {"list": "a text"}))
    launchpad.to_file(str(tmp_path / "lp.yaml"))
    ended = portfire(tmp_path, "run", "-l", "lp.yaml", "--threads", "1")
    assert ended.code == 1
    assert "0 COMPLETED, 1 FIZZLED" in ended.output
    said = {"big": "over Pub/Sub's limit", "pusher": "no attribute 'append'"}[case]
    [line] = [line for line in ended.output.splitlines() if line.startswith(f"  {case} (")]
    assert said in line
