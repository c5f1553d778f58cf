"""The cost of watching: a bag of no-op jobs with events and without, and when they go wrong.

    python -m benchmarks.watching [--jobs 3000] [--rounds 5] [--cases "events" "topic deleted"]

Every round runs each case once, in another order, each on daemons of its own that are warm. The
overhead is the time from the first start to the last end over that of the same round without
events: the median of the rounds. CPU is that of executor, slots and broker, per job; for one
subscriber also his work for the broker, not his own. `lost` is what the executor says it lost.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.cpu import cpu_seconds
from benchmarks.daemons import daemons
from benchmarks.database import Bench, bench, prepare, release, wait_until_completed
from benchmarks.launches import span
from benchmarks.shapes import workflows
from benchmarks.watchers import CASES, Case
from tests.services.mongodb import free_port

_WARM_UP = 100
_LOST = re.compile(r"events lost in all: (\d+)")
_BASE = CASES[0]


@dataclass(frozen=True)
class Run:
    """One case once."""

    case: str
    #: From the first start to the last end.
    seconds: float
    #: CPU milliseconds per job, by process.
    cpu_ms: dict[str, float]
    lost: int


@dataclass(frozen=True)
class Result:
    """One case: medians over the rounds."""

    case: str
    seconds: float
    #: Percent of time more than without events, in the median and in each round.
    overhead: float
    overheads: list[float]
    cpu_ms: dict[str, float]
    lost: int


def measure(place: Bench, case: Case, jobs: int, threads: int, number: int) -> Run:
    """Run the bag once. Raises SystemExit when a job fails."""
    launchpad, file = place.launchpad(f"watching_{number}")
    log = place.directory / "executor.log"
    said = log.stat().st_size if log.exists() else 0
    port = free_port()
    broker = [sys.executable, "-m", "benchmarks.slow_broker", str(port), str(case.delay)]
    with daemons(place, file, threads, broker, settings=case.settings) as pids:
        launchpad.bulk_add_wfs(workflows("bag", _WARM_UP))
        wait_until_completed(launchpad, _WARM_UP, pids.values())
        made = prepare(launchpad, workflows("bag", jobs))
        with case.beside(f"127.0.0.1:{port}"):
            before = cpu_seconds(pids)
            release(launchpad, made)
            wait_until_completed(launchpad, _WARM_UP + jobs, pids.values())
            after = cpu_seconds(pids)
    seconds = span(launchpad, skipped=_WARM_UP)
    launchpad.connection.drop_database(launchpad.name)
    return Run(
        case.name,
        seconds,
        {name: (after[name] - before[name]) * 1e3 / jobs for name in after},
        _lost(log, said),
    )


def compare(
    place: Bench, cases: Sequence[Case], jobs: int, threads: int, rounds: int
) -> list[Result]:
    """Run all cases in turn; `cases` begins with the one that the others are compared with."""
    runs: dict[str, list[Run]] = {case.name: [] for case in cases}
    number = 0
    for turn in range(rounds):
        for case in _rotated(cases, turn):
            number += 1
            run = measure(place, case, jobs, threads, number)
            runs[case.name].append(run)
            said = f"{case.name}: {run.seconds:.2f} s, CPU {_cpu(run.cpu_ms):.2f} ms/job"
            print(f"round {turn + 1}: {said}, lost {run.lost}", file=sys.stderr, flush=True)
    base = runs[cases[0].name]
    return [_result(name, ran, base) for name, ran in runs.items()]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    names = [case.name for case in CASES[1:]]
    parser.add_argument("--cases", nargs="+", choices=names, default=names)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(arguments)
    cases = [_BASE, *(case for case in CASES if case.name in args.cases)]
    with bench() as place:
        results = compare(place, cases, args.jobs, args.threads, args.rounds)
    print(json.dumps([asdict(one) for one in results], indent=1) if args.json else table(results))


def table(results: Sequence[Result]) -> str:
    """The results for people."""
    lines = [f"{'':20}{'s':>8}{'overhead %':>12}{'CPU ms/job':>12}{'lost':>8}   overhead by round"]
    for one in results:
        rounds = " ".join(f"{percent:+.1f}" for percent in one.overheads)
        figures = f"{one.seconds:8.2f}{one.overhead:+12.1f}{_cpu(one.cpu_ms):12.2f}{one.lost:8}"
        lines.append(f"{one.case:20}{figures}   {rounds}")
    return "\n".join(lines)


def _cpu(cpu_ms: dict[str, float]) -> float:
    return sum(cpu_ms[name] for name in ("executor", "slots", "broker"))


def _rotated(cases: Sequence[Case], turn: int) -> list[Case]:
    start = turn % len(cases)
    return [*cases[start:], *cases[:start]]


def _result(name: str, runs: Sequence[Run], base: Sequence[Run]) -> Result:
    overheads = [
        (run.seconds / other.seconds - 1) * 100 for run, other in zip(runs, base, strict=True)
    ]
    return Result(
        name,
        statistics.median(run.seconds for run in runs),
        statistics.median(overheads),
        overheads,
        {part: statistics.median(run.cpu_ms[part] for run in runs) for part in runs[0].cpu_ms},
        round(statistics.median(run.lost for run in runs)),
    )


def _lost(log: Path, offset: int) -> int:
    with log.open("rb") as file:
        file.seek(offset)
        found = _LOST.search(file.read().decode(errors="replace"))
    return int(found[1]) if found else 0


if __name__ == "__main__":
    main()
