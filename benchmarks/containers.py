"""Containers: DockerTask beside the docker SDK alone, and beside `docker run`.

    python -m benchmarks.containers [--runs 5] [--quick] [--only echo] [--json]

40 `echo` containers on 1, 4 and 8 slots (threads of one process): the SDK by itself (create, start,
wait, remove; a client for each thread), DockerTask without staging, and DockerTask with
`reuse: true`; the latter once with a job in each kept container before the clock starts, once from
nothing. Then `cat` of a large file with lines of 1,000 bytes: `docker run --rm IMAGE cat > file`
beside a DockerTask with an output `>file`. Each pass is a fresh process, those of one case take
turns, figures are medians. Files are in memory, but for the engine's own; the memory in the table
is the process's peak above its start. Needs a Docker Engine and busybox, of which an image is made.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from benchmarks.container_ways import LARGE, PRINTED, Pass, cost
from benchmarks.measured import Cost
from benchmarks.storage_table import Goal
from examples.wordcount.image import NoImageError, make_image

_SDK = "docker SDK"
_DIRECTORY = "where the files are, in memory (default: /dev/shm)"
_LINE = b"x" * 999 + b"\n"
#: Bytes by which the peak may differ between a large and a small output.
_FLAT = 16 << 20


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is done, how often, and where."""

    image: str
    directory: Path
    runs: int = 5
    jobs: int = 40
    slots: tuple[int, ...] = (1, 4, 8)
    output_mib: tuple[int, ...] = (128, 1_024)


@dataclass(frozen=True, slots=True)
class Case:
    """The same done in several ways."""

    title: str
    ways: tuple[str, ...]
    slots: int
    jobs: int
    #: How much is done, in `unit`.
    amount: float
    unit: str
    goals: Mapping[str, Goal] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Row:
    """The medians of one way in one case."""

    case: str
    way: str
    #: Per second, in `unit`.
    rate: float
    unit: str
    seconds: float
    #: CPU seconds of the process and its children; the engine's are not in it.
    cpu: float
    #: Peak resident bytes above the start.
    memory: float
    #: What its goal is about, whether that is met, and both in words; nothing without a goal.
    figure: float | None = None
    met: bool | None = None
    verdict: str = ""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print; what cannot be measured here is said in one line."""
    args = _parser().parse_args(arguments)
    try:
        image = make_image()
    except NoImageError as exc:
        print(f"containers: not measured: {exc}")
        return
    with tempfile.TemporaryDirectory(prefix="portfire-bench-", dir=args.directory) as directory:
        plan = Plan(image, Path(directory).resolve(), args.runs)
        if args.quick:
            plan = replace(plan, runs=1, jobs=4, slots=(2,), output_mib=(1, 4))
        rows = [row for section in args.only or SECTIONS for row in SECTIONS[section](plan)]
    if args.json:
        print(json.dumps([asdict(row) for row in rows], indent=1))
        return
    _print(rows)
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    print(f"\n{plan.runs} runs of each, medians; {os.cpu_count()} CPUs, load at the end {load}")


def echo(plan: Plan) -> Iterator[Row]:
    """Short containers, on some numbers of slots."""
    ways = (_SDK, "DockerTask", "DockerTask, reuse", "DockerTask, reuse, from nothing")
    goals = {
        "DockerTask": Goal((_SDK,), 0.95, at_least=True),
        "DockerTask, reuse": Goal((_SDK,), 8, at_least=True),
    }
    for slots in plan.slots:
        title = f"{plan.jobs} echo containers, slots: {slots}"
        yield from _measured(
            plan, Case(title, ways, slots, plan.jobs, plan.jobs, "containers/s", goals)
        )


def output(plan: Plan) -> Iterator[Row]:
    """A large output, and a smaller one to compare the memory."""
    ways = ("docker run > file", "DockerTask, > file")
    goals = {ways[1]: Goal(ways[:1], 0.8, at_least=True)}
    peaks = []
    for size in plan.output_mib:
        _make_large(plan.directory / LARGE, size)
        largest = size == plan.output_mib[-1]
        case = Case(
            f"cat of {size} MiB", ways, 1, 1, size * 1.048576, "MB/s", goals if largest else {}
        )
        for row in _measured(plan, case):
            if row.way == ways[1]:
                peaks.append(row.memory)
            yield row
    yield _flatness(plan, peaks)


SECTIONS = {"echo": echo, "output": output}


def _measured(plan: Plan, case: Case) -> list[Row]:
    costs: dict[str, list[Cost]] = {way: [] for way in case.ways}
    for _ in range(plan.runs):
        # In turns, so that whatever else the machine does meets all of them.
        for way in case.ways:
            order = Pass(way, plan.image, case.slots, case.jobs, str(plan.directory))
            costs[way].append(cost(order))
            _check_printed(plan.directory)
    seconds = {way: statistics.median(one.seconds for one in each) for way, each in costs.items()}
    return [_row(case, way, costs[way], seconds) for way in case.ways]


def _row(case: Case, way: str, costs: list[Cost], seconds: Mapping[str, float]) -> Row:
    row = Row(
        case=case.title,
        way=way,
        rate=case.amount / seconds[way],
        unit=case.unit,
        seconds=seconds[way],
        cpu=statistics.median(one.cpu for one in costs),
        memory=statistics.median(one.memory for one in costs),
    )
    if (goal := case.goals.get(way)) is None:
        return row
    figure = goal.figure(row.seconds, [seconds[other] for other in goal.others])
    return replace(row, figure=figure, met=goal.is_met(figure), verdict=goal.judged(figure))


def _flatness(plan: Plan, peaks: Sequence[float]) -> Row:
    """The memory that the larger output took more than the smaller one, as a row of its own."""
    small, large = plan.output_mib[0], plan.output_mib[-1]
    growth = peaks[-1] - peaks[0]
    met = growth < _FLAT
    verdict = (
        f"peak {growth / 1e6:+.1f} MB with {large // small} times the output "
        f"(goal: less than {_FLAT / 1e6:.0f} MB{'' if met else ', MISSED'})"
    )
    return Row("memory", "DockerTask, > file", 0, "", 0, 0, peaks[-1], growth, met, verdict)


def _make_large(path: Path, mib: int) -> None:
    block = _LINE * 1_000
    with path.open("wb") as file:
        for _ in range((mib << 20) // len(block)):
            file.write(block)
        file.truncate(mib << 20)


def _check_printed(directory: Path) -> None:
    """What a pass printed to a file is whole; it is removed."""
    printed = directory / PRINTED
    if printed.exists():
        assert printed.stat().st_size == (directory / LARGE).stat().st_size
        printed.unlink()


def _print(rows: Sequence[Row]) -> None:
    for case in dict.fromkeys(row.case for row in rows):
        print(f"\n{case}")
        for row in (row for row in rows if row.case == case):
            rate = f"{row.rate:.1f} {row.unit}" if row.unit else ""
            figures = f"{rate:>18}{row.seconds:9.2f} s{row.cpu:9.2f} s CPU"
            print(f"  {row.way:32}{figures}{row.memory / 1e6:8.1f} MB   {row.verdict}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a few containers, once")
    parser.add_argument("--only", choices=SECTIONS, action="append", help="may be given repeatedly")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--directory", type=Path, default=Path("/dev/shm"), help=_DIRECTORY)
    return parser


if __name__ == "__main__":
    main()
