"""Memory of an idle executor with 4 threads, children included.

    python -m benchmarks.memory [--threads 4]

PSS shares the pages that the slots' children have in common with the fork server; RSS counts them
in each process again.
"""

from __future__ import annotations

import argparse

import psutil
from fireworks import Firework, PyTask, Workflow

from benchmarks.daemons import daemons
from benchmarks.database import bench
from tests.waiting import wait_until


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description="memory of an idle executor")
    parser.add_argument("--threads", type=int, default=4)
    threads = parser.parse_args().threads
    with bench() as place:
        launchpad, file = place.launchpad("memory")
        with daemons(place, file, threads=threads) as pids:
            # One round of jobs first: until then nothing has been used for real.
            jobs = [
                Workflow([Firework([PyTask(func="time.sleep", args=[0.2])])])
                for _ in range(4 * threads)
            ]
            launchpad.bulk_add_wfs(jobs)
            wait_until(
                lambda: launchpad.fireworks.count_documents({"state": "COMPLETED"}) == len(jobs),
                timeout=120,
                what="the first jobs",
            )
            executor = psutil.Process(pids["executor"])
            family = [executor, *executor.children(recursive=True)]
            print(f"idle executor with {threads} threads: {len(family)} processes")
            for process in family:
                memory = process.memory_full_info()
                name = " ".join(process.cmdline())[-60:] if process == executor else "helper"
                print(f"  {memory.rss / 1e6:7.1f} MB RSS {memory.pss / 1e6:7.1f} MB PSS  {name}")
            total = sum(process.memory_full_info().pss for process in family)
            print(f"  {total / 1e6:7.1f} MB PSS in all")


if __name__ == "__main__":
    main()
