"""`portfire` as a user runs it: a process, its exit code, and what it says."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.faults.site import environment
from tests.waiting import PATIENCE


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    output: str
    errors: str

    @property
    def error_line(self) -> str:
        """The one line that an error is; anything more fails the test."""
        lines = self.errors.strip().splitlines()
        assert len(lines) == 1, self.errors
        assert lines[0].startswith("portfire: ")
        return lines[0]


def start(directory: Path, *arguments: str, **variables: str) -> subprocess.Popen[str]:
    """Start `portfire` in `directory`."""
    return subprocess.Popen(
        [sys.executable, "-m", "portfire", *arguments],
        cwd=directory,
        env=environment(directory, **variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str], timeout: float = 60.0) -> Ended:
    """Wait for the end; kills it after `timeout` seconds (times PATIENCE), and fails."""
    timeout *= PATIENCE
    try:
        output, errors = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        output, errors = process.communicate()
        raise AssertionError(f"did not end within {timeout} s:\n{output}\n{errors}") from None
    return Ended(process.returncode, output, errors)


def portfire(directory: Path, *arguments: str, **variables: str) -> Ended:
    """Run `portfire` in `directory` to its end."""
    return finish(start(directory, *arguments, **variables))
