"""A job's program as its task describes it: validated, then run in a workspace."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from executor.command import Command, failure_reason, run_command
from executor.files.staging import Executed
from executor.files.workspace import Workspace
from messaging.errors import JobError
from storage_backends.paths import PathError, below, checked_name, is_tree


@dataclass(frozen=True, kw_only=True)
class Program:
    """What to run, and with which files in the working directory."""

    #: For people and events.
    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    stdin: str | None = None
    stdout: str | None = None
    stderr: str | None = None
    #: Seconds.
    timeout: float
    #: Standard error goes where standard output goes.
    merged: bool = False

    def execute(self, workspace: Workspace) -> Executed:
        """Run it in the workspace's files. Raises JobError when it cannot be started."""
        stdout = _new_file(workspace.files, self.stdout, "stdout") or workspace.stdout
        stderr = _new_file(workspace.files, self.stderr, "stderr") or workspace.stderr
        if self.merged:
            stderr = stdout
        ended = run_command(
            Command(
                argv=self.argv,
                cwd=workspace.files,
                env=self.env,
                stdin=_stdin(workspace.files, self.stdin),
                stdout=stdout,
                stderr=stderr,
                timeout=self.timeout,
            )
        )
        return Executed(
            ended=ended,
            error=failure_reason(ended, repr(self.name), self.timeout),
            printed=(stdout,) if stdout == stderr else (stdout, stderr),
        )


def command_line(command: object) -> tuple[str, tuple[str, ...]]:
    """Name and argv of a list (a program and its arguments) or a text (a line for the shell).

    Raises JobError for anything else.
    """
    if isinstance(command, str) and command.strip():
        line = command.strip()
        return _shortened(line), ("/bin/sh", "-c", line)
    if isinstance(command, (list, tuple)) and command and all(map(is_scalar, command)):
        argv = tuple(str(part) for part in command)
        if argv[0] and not any("\0" in part for part in argv):
            return argv[0], argv
    raise JobError(f"command is {command!r}: expected a list of texts, or a line for the shell")


def arguments(args: str | list[str]) -> tuple[str, ...]:
    """HyperFlow's ``args``: a list, or a text split as a shell would. Raises JobError."""
    try:
        return tuple(shlex.split(args)) if isinstance(args, str) else tuple(args)
    except ValueError as exc:
        raise JobError(f"args {_shortened(str(args))!r} cannot be split: {exc}") from exc


def checked_env(env: object) -> dict[str, str]:
    """Environment variables as texts. Raises JobError."""
    if not isinstance(env, Mapping):
        raise JobError(f"env is a {type(env).__name__}: expected names and values")
    for name, value in env.items():
        if not isinstance(name, str) or not name or "=" in name or not is_scalar(value):
            kind = type(value).__name__  # the value itself may be a password
            raise JobError(f"env has {name!r}: a {kind}: expected a name and a text")
    return {name: str(value) for name, value in env.items()}


def checked_timeout(timeout: object, default: float) -> float:
    """Seconds; `default` for None. Raises JobError."""
    if timeout is None:
        return default
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not timeout > 0:
        raise JobError(f"timeout is {timeout!r}: expected seconds, more than 0")
    return float(timeout)


def checked_file(name: Any, what: str) -> str | None:
    """The name of a file in the working directory, or None. Raises PathError."""
    if name is not None and is_tree(checked_name(name, what)):
        raise PathError(f"{what} {name!r} is a tree: expected a file")
    return None if name is None else str(name)


def _new_file(files: Path, name: str | None, what: str) -> Path | None:
    if name is None:
        return None
    path = below(files, name, what)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    return path


def _stdin(files: Path, name: str | None) -> Path | None:
    if name is None:
        return None
    path = below(files, name, "stdin")
    if not path.is_file():
        raise JobError(f"stdin {name!r} is not in the working directory: list it as an input")
    return path


def is_scalar(value: object) -> bool:
    """Whether a value stands for one argument: a text or a number."""
    return isinstance(value, (str, int, float))


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else line[:57] + "..."
