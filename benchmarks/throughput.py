"""Jobs per second of no-op PyTasks, by the shape of their workflow, beside other systems.

    python -m benchmarks.throughput [--shape bag] [--jobs 500] [--peers installed]

A bag is N workflows of one task; a fan (root, N tasks, join), a chain and layers (ten, each task
with three parents) are one workflow. `command s` is from the command to its end, start-up
included; for running daemons from the moment at which the jobs are in the LaunchPad. The steady
rate is from the first start to the last end of a task, with two workers everywhere.

Parsl, Dask and Celery are measured where they are installed:
pip install parsl 'dask[distributed]' celery redis; Celery needs redis-server besides.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from benchmarks import launchers
from benchmarks.database import Bench, bench
from benchmarks.files import ROOT
from benchmarks.rates import HEAD, Absent, Rate, text
from benchmarks.shapes import SHAPES, graph

#: Modules and programs that a peer needs, by its name; FireWorks' launchers are always there.
PEERS: dict[str, tuple[Sequence[str], Sequence[str]]] = {
    "rlaunch": ((), ()),
    "mlaunch": ((), ()),
    "parsl": (("parsl",), ()),
    "dask": (("distributed",), ()),
    "celery": (("celery", "redis"), ("redis-server",)),
}
_LAUNCHERS = {"rlaunch": launchers.RAPIDFIRE, "mlaunch": launchers.MLAUNCH}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    args = _parser().parse_args(arguments)
    peers = _peers(args.peers)
    rows = []
    if not args.json:
        print(HEAD)
    with bench() as place:
        for shape in args.shape:
            for row in _rows(place, shape, args.jobs, peers, args.peer_jobs, args.threads):
                rows.append(asdict(row))
                if not args.json:
                    # As they come: some take minutes.
                    print(text(row), flush=True)
    if args.json:
        print(json.dumps(rows, indent=1))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--shape", nargs="+", choices=SHAPES, default=["bag"])
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument(
        "--peers",
        default="rlaunch",
        help=f"comma-separated, of {', '.join(PEERS)}; or `installed`, or `none` (rlaunch)",
    )
    parser.add_argument(
        "--peer-jobs", type=int, help="fewer jobs for rlaunch and mlaunch, whose cost per job grows"
    )
    parser.add_argument("--threads", type=int, default=2, help="slots, and workers of peers")
    parser.add_argument("--json", action="store_true")
    return parser


def _peers(chosen: str) -> list[str]:
    if chosen == "none":
        return []
    if chosen == "installed":
        return [name for name in PEERS if not missing(name)]
    names = chosen.split(",")
    for name in names:
        if name not in PEERS:
            raise SystemExit(f"--peers: no peer {name!r}: there are {', '.join(PEERS)}")
    return names


def missing(peer: str) -> list[str]:
    """What a peer needs and is not installed."""
    modules, programs = PEERS[peer]
    return [
        *(module for module in modules if importlib.util.find_spec(module) is None),
        *(program for program in programs if shutil.which(program) is None),
    ]


def _rows(
    place: Bench, shape: str, jobs: int, peers: list[str], peer_jobs: int | None, threads: int
) -> Iterator[Rate | Absent]:
    yield launchers.run_command(place, launchers.RUN, shape, jobs, threads)
    yield launchers.run_daemons(place, shape, jobs, threads)
    for peer in peers:
        if peer in _LAUNCHERS:
            fewer = peer_jobs or jobs
            yield launchers.run_command(place, _LAUNCHERS[peer], shape, fewer, threads)
        else:
            yield _run_peer(peer, shape, jobs, threads)


def _run_peer(peer: str, shape: str, jobs: int, threads: int) -> Rate | Absent:
    system = f"{peer}, {threads} workers"
    if lacking := missing(peer):
        return Absent(system=system, shape=shape, reason=f"not installed: {', '.join(lacking)}")
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.peers.{peer}_jobs", shape, str(jobs)],
        cwd=ROOT,
        # Their workers are processes that must find the jobs' module, too.
        env={**os.environ, "BENCHMARK_WORKERS": str(threads), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=3600,
    )
    if done.returncode:
        return Absent(system=system, shape=shape, reason=done.stderr.strip().splitlines()[-1])
    seconds = time.perf_counter() - began
    timing = json.loads(done.stdout.splitlines()[-1])
    return Rate(
        system=system,
        shape=shape,
        tasks=len(graph(shape, jobs)),
        command_seconds=seconds,
        steady_seconds=timing["steady"],
    )


if __name__ == "__main__":
    main()
