"""The two ways to run what a LaunchPad holds: FireWorks' own, and ours. One interface."""

from __future__ import annotations

import os
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from fireworks import FWorker, LaunchPad

from tests.waiting import PATIENCE

_REPOSITORY = Path(__file__).parents[2]
#: Where these point would change what is tested.
_NOT_OURS = ("PUBSUB_EMULATOR_HOST", "GOOGLE_CLOUD_PROJECT", "FW_CONFIG_FILE", "THREADS", "STORAGE")

#: Exit code, as of timeout(1), of a run that had to be killed.
TIMED_OUT = 124


class Runner(ABC):
    """Runs a LaunchPad's Fireworks below one directory until nothing is left to run."""

    def __init__(self, launchpad: LaunchPad, directory: Path) -> None:
        self.launchpad = launchpad
        #: Launch directories are made below it.
        self.directory = directory
        directory.mkdir()
        self._settings = directory.with_name(f"{directory.name}-settings")
        self._settings.mkdir()
        self.launchpad_file = self._settings / "my_launchpad.yaml"
        launchpad.to_file(str(self.launchpad_file))

    @abstractmethod
    def command(self, fworker_file: Path | None, threads: int) -> Sequence[str]:
        """The command line."""

    def run(self, fworker: FWorker | None = None, threads: int = 2, timeout: float = 60.0) -> int:
        """Run until nothing is left; returns the exit code, TIMED_OUT after `timeout` seconds."""
        fworker_file = None
        if fworker is not None:
            fworker_file = self._settings / "my_fworker.yaml"
            fworker.to_file(str(fworker_file))
        command = self.command(fworker_file, threads)
        # A file, not a pipe: a process that outlives its parent must not keep us waiting.
        with (self._settings / "output").open("w+") as output:
            process = subprocess.Popen(
                command,
                cwd=self.directory,
                env=self._environment(),
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            try:
                code = process.wait(timeout * PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                code = TIMED_OUT
            output.seek(0)
            # pytest shows this when the comparison fails.
            sys.stdout.write(f"{type(self).__name__} ended with {code}\n{output.read()}\n")
        return code

    def _environment(self) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if name not in _NOT_OURS and not name.startswith("PORTFIRE_")
        }
        # HOME: a my_launchpad.yaml or FW_config.yaml of whoever runs the tests must not matter.
        return {
            **kept,
            "HOME": str(self._settings),
            "PYTHONPATH": str(_REPOSITORY),
            "PORTFIRE_WORKDIR": str(self.directory),
            "CHOSEN": "chosen-by-variable",
        }


class Rapidfire(Runner):
    """`rlaunch rapidfire`."""

    def command(self, fworker_file: Path | None, threads: int) -> Sequence[str]:  # noqa: ARG002
        """One Firework after the other: FireWorks has no threads."""
        rlaunch = "from fireworks.scripts.rlaunch_run import rlaunch; raise SystemExit(rlaunch())"
        return [
            *(sys.executable, "-c", rlaunch, "-s", "-l", str(self.launchpad_file)),
            *(["-w", str(fworker_file)] if fworker_file else []),
            *("rapidfire", "--sleep", "1"),
        ]


class Portfire(Runner):
    """`portfire run`."""

    def command(self, fworker_file: Path | None, threads: int) -> Sequence[str]:
        return [
            *(sys.executable, "-m", "portfire", "run", "-l", str(self.launchpad_file)),
            *(["-w", str(fworker_file)] if fworker_file else []),
            *("--threads", str(threads)),
        ]
