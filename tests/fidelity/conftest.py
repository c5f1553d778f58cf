"""Fixtures of the fidelity tests: the same LaunchPad twice, one for each runner."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from fireworks import FWorker, LaunchPad, Workflow
from fireworks.scripts.lpad_run import lpad

from tests.fidelity.normalise import Document, comparable, launch_order
from tests.fidelity.runners import Portfire, Rapidfire, Runner


@dataclass(frozen=True)
class Pair:
    """The same workflows under `rlaunch rapidfire` and under `portfire run`, step by step."""

    rapidfire: Runner
    portfire: Runner

    def both(self) -> tuple[Runner, Runner]:
        return self.rapidfire, self.portfire

    def add(self, build: Callable[[Path], Workflow]) -> None:
        """Load what `build` makes for each run's directory."""
        for runner in self.both():
            runner.launchpad.add_wf(build(runner.directory))

    def run(self, fworker: FWorker | None = None, threads: int = 2) -> int:
        """Run both until nothing is left to run; returns Portfire's exit code."""
        assert self.rapidfire.run(fworker, threads) == 0
        return self.portfire.run(fworker, threads)

    def lpad(self, command: str, *names: str, options: tuple[str, ...] = ()) -> None:
        """`lpad` with a command on the Fireworks with these names, in both LaunchPads."""
        for runner in self.both():
            found = runner.launchpad.get_fw_ids({"name": {"$in": list(names)}})
            assert len(found) == len(names), names
            ids = ["-i", ",".join(map(str, found))]
            lpad(["-s", "-l", str(runner.launchpad_file), command, *ids, *options])

    def documents(self) -> tuple[dict[str, Document], dict[str, Document]]:
        """What came of it, in comparable form: FireWorks', ours."""
        ours, theirs = self.portfire, self.rapidfire
        return (
            comparable(theirs.launchpad, theirs.directory),
            comparable(ours.launchpad, ours.directory),
        )

    def orders(self) -> tuple[list[str], list[str]]:
        """Names of the Fireworks in the order in which they started: FireWorks', ours."""
        return launch_order(self.rapidfire.launchpad), launch_order(self.portfire.launchpad)

    def states(self) -> dict[str, str]:
        """State of each Firework after rapidfire, by name: what a test expects of both."""
        found = self.rapidfire.launchpad.fireworks.find({}, {"name": True, "state": True})
        return {firework["name"]: firework["state"] for firework in found}


def make_pair(make_launchpad: Callable[[], LaunchPad], directory: Path) -> Pair:
    """Two fresh LaunchPads with a runner each.

    FIDELITY_SUBJECT=rapidfire puts FireWorks on both sides: so one sees whether a scenario is
    deterministic, that is, whether a difference is Portfire's. (The two tests of what only Portfire
    does fail then.)
    """
    alone = os.environ.get("FIDELITY_SUBJECT") == "rapidfire"
    subject: type[Runner] = Rapidfire if alone else Portfire
    return Pair(
        Rapidfire(make_launchpad(), directory / "theirs"),
        subject(make_launchpad(), directory / "ours"),
    )


@pytest.fixture
def pair(make_launchpad: Callable[[], LaunchPad], tmp_path: Path) -> Pair:
    return make_pair(make_launchpad, tmp_path)
