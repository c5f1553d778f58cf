"""Fetching and storing files: Portfire beside Borealis' way, transfer_manager, requests and cp.

    python -m benchmarks.storage [--runs 5] [--quick] [--only small] [--markdown | --json]

Google Cloud Storage is a server of the benchmark's own (`object_server`), in another process, with
a delay for each request. Each movement runs in a fresh process; those of one case take turns;
figures are medians. Files are in memory, so that no disk is measured; only the mounted ones move
between memory and disk. CPU is that of the moving process, user and system; memory is its peak
above its start. Fetched trees are compared with what was sent.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import psutil

from benchmarks.measured import Cost, measure
from benchmarks.object_server import Server
from benchmarks.storage_cases import SECTIONS, Case, Plan
from benchmarks.storage_table import Row, markdown, median_rows, text

_DIRECTORY = "where the files are, in memory (default: /dev/shm)"
_DISK = "where jobs would work, on another file system (default: the temporary directory)"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    args = _parser().parse_args(arguments)
    with (
        tempfile.TemporaryDirectory(prefix="portfire-bench-", dir=args.directory) as directory,
        tempfile.TemporaryDirectory(prefix="portfire-bench-", dir=args.disk) as disk,
    ):
        places = Path(directory).resolve(), Path(disk).resolve()
        plan = Plan(*places, args.runs)
        if args.quick:
            plan = Plan(*places, runs=1, files=20, large_mib=(8,), cached_mib=8, delays_ms=(0,))
        rows = measured(plan, args.only or list(SECTIONS))
    if args.form == "json":
        print(json.dumps([asdict(row) for row in rows], indent=1))
        return
    print(markdown(rows) if args.form == "markdown" else text(rows))
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    print(f"\n{plan.runs} runs of each, medians; {os.cpu_count()} CPUs, load at the end {load}")


def measured(plan: Plan, sections: Sequence[str]) -> list[Row]:
    """The rows of all cases of `sections`."""
    return [
        row
        for section in sections
        for case in SECTIONS[section](plan)
        for row in _rows(case, plan.runs)
    ]


def _rows(case: Case, runs: int) -> list[Row]:
    costs: dict[str, list[tuple[Cost, float]]] = {name: [] for name in case.contenders}
    for run in range(runs):
        # In turns, so that whatever else the machine does meets all of them.
        for number, (name, ready) in enumerate(case.contenders.items()):
            label = f"{run}-{number}"
            before = _cpu(case.server)
            cost = measure(name, ready(label), *case.movement(label))
            costs[name].append((cost, _cpu(case.server) - before))
            case.finish(label)
    return median_rows(case.title, case.files, costs, case.goals)


def _cpu(server: Server | None) -> float:
    if server is None:
        return 0.0
    times = psutil.Process(server.pid).cpu_times()
    return float(times.user + times.system)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a few small files, once")
    parser.add_argument("--only", choices=SECTIONS, action="append", help="may be given repeatedly")
    parser.add_argument("--directory", type=Path, default=Path("/dev/shm"), help=_DIRECTORY)
    parser.add_argument("--disk", type=Path, help=_DISK)
    form = parser.add_mutually_exclusive_group()
    for name in ("markdown", "json"):
        form.add_argument(f"--{name}", action="store_const", dest="form", const=name)
    return parser


if __name__ == "__main__":
    main()
