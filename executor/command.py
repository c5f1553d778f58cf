"""Running one program: its process tree, its time limit, its output files, what it used."""

from __future__ import annotations

import os
import resource
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from executor.probe import sample_teller
from executor.process_tree import MARK, ProcessTree
from executor.tally import INTERVAL, Tally
from executor.usage import Usage
from messaging.errors import JobError

#: Patience between SIGTERM and SIGKILL.
GRACE = 3.0
_FIRST_SAMPLE = 0.02


@dataclass(frozen=True, kw_only=True)
class Command:
    """A program to run."""

    argv: tuple[str, ...]
    cwd: Path
    #: Goes over this process's environment.
    env: Mapping[str, str] = field(default_factory=dict)
    #: None: empty.
    stdin: Path | None = None
    stdout: Path
    #: The same path as `stdout`: both into one file, in the order of writing.
    stderr: Path
    #: Wall-clock seconds.
    timeout: float


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a program (or container) ended."""

    #: 0 is success; minus the number of the signal that ended it, as in `subprocess`.
    exit_code: int
    timed_out: bool = False
    #: ``seconds``; where known ``cpu_seconds``, ``memory`` and the others of docs/events.md.
    metrics: dict[str, Any] = field(default_factory=dict)

    @property
    def signal_name(self) -> str | None:
        """``SIGKILL`` and the like, if a signal ended it."""
        return _signal_name(-self.exit_code) if self.exit_code < 0 else None


def run_command(command: Command) -> Ended:
    """Run a program to its end, and end all that it started, however this call ends.

    Its output goes to files only. Raises JobError when it cannot be started; what is raised into
    this thread meanwhile (JobInterrupted) goes on after the process tree is gone.
    """
    tree = ProcessTree()
    started, tally = time.monotonic(), Tally()
    process: subprocess.Popen[bytes] | None = None
    try:
        process = _start(command, tree)
        tree.began(process.pid)
        timed_out = not _watch(process.pid, tree, tally, started + command.timeout)
        tally.count(tree.usage())
        if timed_out:
            tree.end(GRACE)
        used = _reap(process)
        return Ended(
            exit_code=process.returncode,
            timed_out=timed_out,
            metrics={"seconds": time.monotonic() - started, **tally.end(used)},
        )
    finally:
        tree.end(GRACE)
        if process is not None:
            process.poll()  # reaps it after an interruption


def find_program(name: str, cwd: Path, env: Mapping[str, str]) -> str:
    """The absolute path of a program: by its path, else from PATH, else from `cwd`.

    Raises JobError saying where it was looked for.
    """
    path = env.get("PATH", os.environ.get("PATH", os.defpath))
    local = cwd / name
    found = None if "/" in name else shutil.which(name, path=path)
    if found:
        return str(Path(found).absolute())
    if local.is_file():
        if os.access(local, os.X_OK):
            return str(local.absolute())
        raise JobError(f"program {name!r} is not executable: chmod +x {local}")
    raise JobError(
        f"program {name!r} was not found in PATH or in {cwd}: "
        "install it on the executor, or list it as an input"
    )


def failure_reason(ended: Ended, program: str, timeout: float) -> str | None:
    """One line that says how `program` failed and what to do; None for success."""
    if ended.timed_out:
        return f"{program} timed out after {timeout:g} s: raise timeout, or give it less to do"
    if ended.signal_name:
        hint = " (out of memory?)" if ended.signal_name == "SIGKILL" else ""
        return f"{program} was killed by {ended.signal_name}{hint}: see the end of its output"
    if ended.exit_code:
        return f"{program} failed with exit code {ended.exit_code}{_hint(ended.exit_code)}"
    return None


def _hint(exit_code: int) -> str:
    if exit_code == 127:
        return " (a command was not found): install it where the program runs"
    if exit_code == 126:
        return " (a command is not executable): chmod +x it"
    if exit_code > 128:
        return f" (perhaps {_signal_name(exit_code - 128)}): see the end of its output"
    return ": see the end of its output"


def _start(command: Command, tree: ProcessTree) -> subprocess.Popen[bytes]:
    env = {**os.environ, **command.env, MARK: tree.mark}
    program = find_program(command.argv[0], command.cwd, env)
    with ExitStack() as files:
        stdin = files.enter_context((command.stdin or Path(os.devnull)).open("rb"))
        stdout = files.enter_context(command.stdout.open("ab"))
        same = command.stderr == command.stdout
        stderr = stdout if same else files.enter_context(command.stderr.open("ab"))
        try:
            return subprocess.Popen(
                command.argv,
                executable=program,
                cwd=command.cwd,
                env=env,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        except (OSError, ValueError) as exc:
            raise JobError(f"program {command.argv[0]!r} could not be started: {exc}") from exc


def _watch(pid: int, tree: ProcessTree, tally: Tally, deadline: float) -> bool:
    """Wait for `pid` to end, without reaping it, and take samples; False when its time is up."""
    tell, pause = sample_teller(), _FIRST_SAMPLE
    handle = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        while not poll.poll(max(0.0, min(pause, deadline - time.monotonic())) * 1000):
            if time.monotonic() >= deadline:
                return False
            sample = tally.add(tree.usage())
            if sample is not None and tell is not None:
                tell(sample)
            pause = min(pause * 2, INTERVAL)
    finally:
        os.close(handle)
    return True


def _reap(process: subprocess.Popen[bytes]) -> Usage:
    """The exit status into `process`; what it and the children that it waited for have used."""
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    # A child's ru_maxrss starts with the size of the process that forked it: only what is over
    # that is surely its own.
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak = used.ru_maxrss << 10 if used.ru_maxrss > own else 0
    return Usage(used.ru_utime + used.ru_stime, peak)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
