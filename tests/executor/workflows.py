"""Jobs for the tests, and functions that their PyTasks call inside a slot's child process."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from fireworks import FiretaskBase, FWAction, explicit_serialize

from executor.context import current_context
from messaging.wire import LaunchJob

_FWORKER = {"name": "tests", "category": "", "query": "{}", "env": {"colour": "green"}}


def py_task(function: Any, *args: Any, **parameters: Any) -> dict[str, Any]:
    """The document of a PyTask that calls a function of this module, or one by its name."""
    name = function if isinstance(function, str) else f"{__name__}.{function.__name__}"
    return {"_fw_name": "PyTask", "func": name, "args": list(args), **parameters}


def launch(number: int, *tasks: dict[str, Any], **fields: Any) -> LaunchJob:
    """A launch job of these tasks; `fields` go over its other fields, `spec` into the spec."""
    spec = {**fields.pop("spec", {}), "_tasks": list(tasks)}
    firework = {
        "spec": spec,
        "fw_id": number,
        "name": f"firework {number}",
        "created_on": "2026-01-01T00:00:00+00:00",
        "updated_on": "2026-01-01T00:00:00+00:00",
    }
    defaults: dict[str, Any] = {
        "job": f"job-{number}",
        "attempt": 1,
        "launch_id": number,
        "fw_id": number,
        "name": f"firework {number}",
        "firework": firework,
        "fworker": _FWORKER,
    }
    return LaunchJob(**{**defaults, **fields})


def wait_for_file(path: str, announce: str | None = None) -> None:
    """Say that it runs by making `announce`, then wait until `path` is there."""
    if announce:
        Path(announce).touch()
    while not Path(path).exists():
        time.sleep(0.02)


def chatter(announce: str) -> None:
    """Send events to the executor without a pause."""
    Path(announce).touch()
    while True:
        current_context().emit("job.execution.started", executable="x" * 5000)


def signal_own_group(announce: str) -> None:
    """Do as a shell's ``kill 0``."""
    note(announce)
    os.killpg(0, signal.SIGTERM)
    time.sleep(60)


def stubborn(announce: str) -> None:
    """Swallow whatever is raised here, and go on for ever."""
    Path(announce).touch()
    while True:
        with contextlib.suppress(BaseException):
            time.sleep(0.1)


def swallow_exceptions(announce: str) -> None:
    """Catch every Exception, as careless tasks do."""
    Path(announce).touch()
    while True:
        with contextlib.suppress(Exception):
            time.sleep(0.1)


def note(path: str, text: str = "ran") -> None:
    """Append a line to a file."""
    with Path(path).open("a") as file:
        file.write(f"{text}\n")


def spoil_surroundings() -> None:
    """Change what the next job must not see."""
    os.environ["SPOILED"] = "yes"
    os.environ.pop("HOME", None)
    os.chdir("/")
    os.umask(0o777)
    sys.path.insert(0, "/spoiled")
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.stdout = None


def surroundings() -> dict[str, Any]:
    """What `spoil_surroundings` changes."""
    umask = os.umask(0o022)
    os.umask(umask)
    print("still heard")  # noqa: T201 - what the test looks for
    return {
        "spoiled": os.environ.get("SPOILED"),
        "home": os.environ.get("HOME"),
        "umask": umask,
        "path": "/spoiled" in sys.path,
        "sigint": str(signal.getsignal(signal.SIGINT)),
        "sigterm": signal.getsignal(signal.SIGTERM) == signal.SIG_IGN,
    }


def die_once(marker: str, number: int = signal.SIGKILL) -> str:
    """Be killed at the first call, and answer at the second."""
    if not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), number)
        time.sleep(60)
    return "survived"


def leave_program_behind(pid_file: str) -> None:
    """Start a program in a session of its own, note its pid, and wait for ever."""
    program = subprocess.Popen(["sleep", "300"], start_new_session=True)
    Path(pid_file).write_text(str(program.pid))
    time.sleep(300)


def store_if_allowed(announce: str, go: str, output: str) -> None:
    """The way of a staged task: execute, ask for the lease, store."""
    wait_for_file(go, announce)
    current_context().confirm_lease()
    Path(output).write_text("stored")


def squares_in_processes() -> list[int]:
    """Use multiprocessing inside a task."""
    with multiprocessing.get_context("fork").Pool(2) as pool:
        return pool.map(abs, [-1, 2])


def exit_code_of_a_terminated_process() -> int | None:
    """How a process that the task has forked ends by SIGTERM."""
    process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    process.start()
    process.terminate()
    process.join()
    return process.exitcode


@explicit_serialize
class LaunchPadUser(FiretaskBase):
    """Does what the proxy can do; then, if asked to, what only a database can."""

    _fw_name = "{{tests.executor.workflows.LaunchPadUser}}"

    def run_task(self, fw_spec: dict[str, Any]) -> FWAction:
        """Use ``self.launchpad``."""
        assert fw_spec["_fw_env"] == {"colour": "green"}
        self.launchpad.ping_launch(1)
        self.launchpad.log_message(20, "hello")
        if self.get("query"):
            self.launchpad.fireworks.find_one({})
        return FWAction(stored_data={"fw_id": self.fw_id, "has_wfs": hasattr(self.launchpad, "x")})


def die_in_private(marker: str) -> None:
    """Leave a private directory behind at the first call; the marker says where."""
    if not Path(marker).exists():
        private = Path.cwd() / ".portfire-private"
        private.mkdir()
        Path(marker).write_text(str(private))
        kill_self()


def kill_self() -> None:
    """Be killed."""
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def context_facts() -> dict[str, Any]:
    """What a job is told of its executor's settings."""
    context = current_context()
    return {
        "wants_output": context.wants_output,
        "prefix": context.prefix,
        "max_memory": context.policy.max_memory,
        "stop_grace": context.stop_grace,
        "container_network": context.container_network,
        "image_turns": str(context.image_turns),
        "memory_step": context.memory_step,
    }


def thread_names() -> list[str]:
    """Which threads this process has."""
    return sorted(thread.name for thread in threading.enumerate())
