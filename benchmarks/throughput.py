"""Jobs per second of a bag of no-op jobs: `portfire run` beside `rlaunch rapidfire`.

    python -m benchmarks.throughput [--jobs 500] [--threads 2]

Whole processes are timed, from the command to its end, start-up included; the rate without
start-up is what the LaunchPad says: from the first start to the last end of a launch.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.database import Bench, bag, bench


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    bin_directory = Path(sys.executable).parent
    with bench() as place:
        rows = [
            _measure(
                place,
                "portfire",
                args.jobs,
                lambda file: [
                    str(bin_directory / "portfire"),
                    "run",
                    "-l",
                    str(file),
                    "--threads",
                    str(args.threads),
                ],
            ),
            _measure(
                place,
                "rlaunch",
                args.jobs,
                lambda file: [str(bin_directory / "rlaunch"), "-s", "-l", str(file), "rapidfire"],
            ),
        ]
    print(f"{args.jobs} one-task workflows of a no-op PyTask, portfire with {args.threads} threads")
    print(f"{'':24}{'command s':>10}{'jobs/s':>9}{'jobs/s without start-up':>26}")
    for name, seconds, steady in rows:
        print(f"{name:24}{seconds:10.2f}{args.jobs / seconds:9.1f}{steady:26.1f}")


def _measure(place: Bench, name: str, jobs: int, command: Any) -> tuple[str, float, float]:
    launchpad, file = place.launchpad(f"throughput_{name}")
    launchpad.bulk_add_wfs(bag(jobs))
    directory = place.directory / f"throughput-{name}"
    directory.mkdir()
    began = time.perf_counter()
    _run(command(file), directory)
    seconds = time.perf_counter() - began
    completed = launchpad.fireworks.count_documents({"state": "COMPLETED"})
    if completed != jobs:
        raise SystemExit(f"{name}: {completed} of {jobs} jobs completed")
    return name, seconds, jobs / _span(launchpad)


def _run(command: Sequence[str], directory: Path) -> None:
    with (directory / "output.log").open("w") as log:
        subprocess.run(command, cwd=directory, stdout=log, stderr=log, check=True, timeout=900)


def _span(launchpad: Any) -> float:
    """Seconds from the first start to the last end of the launches."""
    launches = list(launchpad.launches.find({}, {"time_start": 1, "time_end": 1}))
    first = min(datetime.fromisoformat(launch["time_start"]) for launch in launches)
    last = max(datetime.fromisoformat(launch["time_end"]) for launch in launches)
    return (last - first).total_seconds()


if __name__ == "__main__":
    main()
