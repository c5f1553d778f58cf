"""Memory of the dispatcher over many jobs, after each tenth of them.

    python -m benchmarks.dispatcher_memory [--jobs 10000] [--threads 2]

The jobs are one-task workflows; they are put into the LaunchPad a tenth at a time.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

import psutil

from benchmarks.daemons import daemons
from benchmarks.database import Bench, bench, prepare, release, wait_until_completed
from benchmarks.shapes import workflows

_TENTHS = 10


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="memory of the dispatcher over many jobs")
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(arguments)
    with bench() as place:
        resident = measure(place, args.jobs, args.threads)
    if args.json:
        print(json.dumps(resident))
        return
    for jobs, size in resident.items():
        print(f"after {jobs:8} jobs: {size / 1e6:7.1f} MB RSS")
    counts = list(resident)
    # The first tenth fills caches that are bounded.
    grown = resident[counts[-1]] - resident[counts[0]]
    print(f"grown after the first tenth: {grown / (counts[-1] - counts[0]):.1f} bytes per job")


def measure(place: Bench, jobs: int, threads: int) -> dict[int, int]:
    """The dispatcher's resident bytes, by the number of jobs so far."""
    launchpad, file = place.launchpad("dispatcher_memory")
    tenth = max(1, jobs // _TENTHS)
    resident = {}
    with daemons(place, file, threads) as pids:
        for so_far in range(tenth, _TENTHS * tenth + 1, tenth):
            release(launchpad, prepare(launchpad, workflows("bag", tenth)))
            wait_until_completed(launchpad, so_far, pids.values())
            resident[so_far] = psutil.Process(pids["dispatcher"]).memory_info().rss
    return resident


if __name__ == "__main__":
    main()
