"""Portfire and FireWorks' own launchers on a LaunchPad: each runs a shape and is timed."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.daemons import PORTFIRE, daemons
from benchmarks.database import Bench, prepare, release, wait_until_completed
from benchmarks.launches import median_gap, span
from benchmarks.rates import Rate
from benchmarks.shapes import graph, workflows

_BIN = Path(sys.executable).parent
_WARM_UP = 100

RUN = "portfire run"
DAEMONS = "portfire, daemons running"
RAPIDFIRE = "rlaunch rapidfire"
MLAUNCH = "mlaunch 4"


def run_command(place: Bench, system: str, shape: str, jobs: int, threads: int) -> Rate:
    """Run the shape with `RUN`, `RAPIDFIRE` or `MLAUNCH`, as a command. Raises SystemExit."""
    name = f"{system}_{shape}_{jobs}".replace(" ", "_")
    launchpad, file = place.launchpad(name)
    launchpad.bulk_add_wfs(workflows(shape, jobs))
    directory = place.directory / name
    directory.mkdir()
    began = time.perf_counter()
    _run(_command(system, file, threads), directory)
    seconds = time.perf_counter() - began
    tasks = len(graph(shape, jobs))
    completed = launchpad.fireworks.count_documents({"state": "COMPLETED"})
    if completed != tasks:
        raise SystemExit(f"{system}: {completed} of {tasks} jobs of the {shape} completed")
    return _rate(launchpad, system, shape, tasks, seconds)


def run_daemons(place: Bench, shape: str, jobs: int, threads: int) -> Rate:
    """Run the shape on daemons that have run jobs before. Raises SystemExit."""
    launchpad, file = place.launchpad(f"daemons_{shape}_{jobs}")
    with daemons(place, file, threads) as pids:
        launchpad.bulk_add_wfs(workflows("bag", _WARM_UP))
        wait_until_completed(launchpad, _WARM_UP, pids.values())
        tasks = len(graph(shape, jobs))
        made = prepare(launchpad, workflows(shape, jobs))
        began = time.perf_counter()
        release(launchpad, made)
        wait_until_completed(launchpad, _WARM_UP + tasks, pids.values())
        seconds = time.perf_counter() - began
    return _rate(launchpad, DAEMONS, shape, tasks, seconds, skipped=_WARM_UP)


def _command(system: str, file: Path, threads: int) -> Sequence[str]:
    if system == RUN:
        return [*PORTFIRE, "run", "-l", str(file), "--threads", str(threads)]
    if system == RAPIDFIRE:
        return [str(_BIN / "rlaunch"), "-s", "-l", str(file), "rapidfire"]
    # A process of it that finds nothing to do asks again after a second, not after a minute.
    return [str(_BIN / "mlaunch"), "-s", "-l", str(file), "4", "--sleep", "1"]


def _rate(
    launchpad: Any, system: str, shape: str, tasks: int, seconds: float, skipped: int = 0
) -> Rate:
    return Rate(
        system=system,
        shape=shape,
        tasks=tasks,
        command_seconds=seconds,
        steady_seconds=span(launchpad, skipped),
        # Elsewhere a child also waits for a free slot.
        gap_seconds=median_gap(launchpad, skipped) if shape == "chain" else None,
    )


def _run(command: Sequence[str], directory: Path) -> None:
    log = directory / "output.log"
    with log.open("w") as output:
        done = subprocess.run(command, cwd=directory, stdout=output, stderr=output, timeout=3600)
    if done.returncode:
        raise SystemExit(f"{command[0]} ended with {done.returncode}: {log.read_text()[-2000:]}")
