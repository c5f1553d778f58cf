"""Where a job's milliseconds go: CPU time by process, commands to MongoDB, calls of Pub/Sub.

    python -m benchmarks.where [--jobs 1000] [--shape bag] [--idle 5] [--json]

Broker, dispatcher and executor run as processes of their own, and are warm when the jobs come.
CPU time is user and system together; `slots` are the executor's child processes with theirs.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.counted_broker import read_calls
from benchmarks.cpu import cpu_seconds
from benchmarks.daemons import daemons
from benchmarks.database import Bench, bench, prepare, release, wait_until_completed
from benchmarks.launches import span
from benchmarks.shapes import SHAPES, graph, workflows

_WARM_UP = 100
_COMMANDS = ("find", "getMore", "update", "insert", "delete", "findAndModify", "aggregate")


@dataclass(frozen=True)
class Reading:
    """Counters at one moment."""

    #: Wall-clock seconds.
    at: float
    #: CPU seconds by process.
    cpu: dict[str, float]
    #: Commands that MongoDB has been sent, and calls that the broker has been sent.
    commands: Counter[str]
    calls: Counter[str]


@dataclass(frozen=True)
class Result:
    """What a job costs, on average."""

    shape: str
    jobs: int
    #: Jobs per second from the first start to the last end.
    rate: float
    #: CPU milliseconds per job, by process.
    cpu_ms: dict[str, float]
    #: Commands to MongoDB and calls of Pub/Sub per job.
    mongodb: dict[str, float]
    pubsub: dict[str, float]
    #: Percent of a core, and commands to MongoDB per second, while nothing is to be done.
    idle_cpu: dict[str, float]
    idle_commands: float


class Meter:
    """Reads the counters of the running parts."""

    def __init__(self, place: Bench, pids: dict[str, int], launchpad: Any, calls: Path) -> None:
        self._pids = {**pids, "mongod": place.mongod}
        self._launchpad = launchpad
        self._calls = calls

    def read(self) -> Reading:
        """The counters now."""
        commands = self._launchpad.connection.admin.command("serverStatus")["metrics"]["commands"]
        return Reading(
            time.monotonic(),
            cpu_seconds(self._pids),
            Counter({name: int(commands[name]["total"]) for name in _COMMANDS}),
            read_calls(self._pids["broker"], self._calls),
        )


def measure(place: Bench, shape: str, jobs: int, threads: int, idle: float) -> Result:
    """Run the jobs on warm daemons, and read the counters before and after."""
    launchpad, file = place.launchpad("where")
    calls = place.directory / "calls.json"
    broker = [sys.executable, "-m", "benchmarks.counted_broker", str(calls)]
    with daemons(place, file, threads, broker) as pids:
        launchpad.bulk_add_wfs(workflows("bag", _WARM_UP))
        wait_until_completed(launchpad, _WARM_UP, pids.values())
        total = len(graph(shape, jobs))
        made = prepare(launchpad, workflows(shape, jobs))
        meter = Meter(place, pids, launchpad, calls)
        resting = meter.read()
        time.sleep(idle)
        before = meter.read()
        release(launchpad, made)
        asked = wait_until_completed(launchpad, _WARM_UP + total, pids.values())
        after = meter.read()
    # Ours: the two insertions of `release`, and the questions whether it is done.
    ours = Counter({"insert": 2, "aggregate": asked})
    return Result(
        shape,
        total,
        total / span(launchpad, skipped=_WARM_UP),
        {name: (after.cpu[name] - before.cpu[name]) * 1e3 / total for name in after.cpu},
        _per(after.commands - before.commands - ours, total),
        _per(after.calls - before.calls, total),
        {name: (before.cpu[name] - resting.cpu[name]) * 100 / idle for name in after.cpu},
        (before.commands - resting.commands).total() / idle,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--shape", choices=SHAPES, default="bag")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--idle", type=float, default=5.0, help="seconds of idleness to measure")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(arguments)
    with bench() as place:
        result = measure(place, args.shape, args.jobs, args.threads, args.idle)
    print(json.dumps(asdict(result), indent=1) if args.json else table(result))


def table(result: Result) -> str:
    """The result for people."""
    lines = [
        f"{result.shape} of {result.jobs} jobs: {result.rate:.1f} jobs/s",
        f"{'':24}{'CPU ms/job':>12}{'idle, % of a core':>20}",
    ]
    for name, ms in sorted(result.cpu_ms.items(), key=lambda item: -item[1]):
        lines.append(f"{name:24}{ms:12.2f}{result.idle_cpu[name]:20.1f}")
    lines.append(f"{'all':24}{sum(result.cpu_ms.values()):12.2f}")
    lines.append("MongoDB commands per job: " + _listed(result.mongodb))
    lines.append("Pub/Sub calls per job: " + _listed(result.pubsub))
    lines.append(f"MongoDB commands per second when idle: {result.idle_commands:.1f}")
    return "\n".join(lines)


def _per(counts: Counter[str], jobs: int) -> dict[str, float]:
    return {name: count / jobs for name, count in counts.most_common()}


def _listed(figures: dict[str, float]) -> str:
    return ", ".join(f"{name} {figure:.2f}" for name, figure in figures.items())


if __name__ == "__main__":
    main()
