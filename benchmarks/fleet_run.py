"""`portfire gce keep` through a workflow, on VMs of a fake Compute Engine that are real executors.

    python -m benchmarks.fleet_run [--vms 20] [--jobs 300] [--preemptions 8] [--seed 1] [--json]

Broker, dispatcher, keeper and executors are processes of their own, on a real mongod; Spot VMs are
preempted at random while they work. Exits with 1 when anything is left over.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.database import bench
from tests.fleet.keeping.whole_path import Run, run_whole_path
from tests.services.gce import serving_gce


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--vms", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=300)
    parser.add_argument("--preemptions", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--timeout", type=float, default=900.0, help="seconds")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(arguments)
    with bench() as place, serving_gce() as gce:
        launchpad, _ = place.launchpad("fleet")
        directory = Path(place.directory / "run")
        directory.mkdir()
        run = run_whole_path(
            directory,
            launchpad,
            gce,
            vms=args.vms,
            jobs=args.jobs,
            preemptions=args.preemptions,
            seed=args.seed,
            timeout=args.timeout,
            quiet=True,
        )
    found = figures(run)
    print(json.dumps(found) if args.json else "\n".join(f"{k}: {v}" for k, v in found.items()))
    clean = run.states == {"COMPLETED": args.jobs} and not run.vms and not run.processes
    return 0 if clean and run.ended.code == 0 else 1


def figures(run: Run) -> dict[str, Any]:
    """What is worth telling of it."""
    record = run.record
    return {
        "seconds, keeper's start to end": round(run.seconds, 1),
        "Fireworks": run.states,
        "keeper's exit code": run.ended.code,
        "VMs asked for, Spot and not": [run.spot, run.on_demand],
        "VMs at a time at most": record["most"],
        "preempted": len(run.preempted),
        "seen as lost while there was work": record["lost"],
        "VMs left": run.vms,
        "processes left": run.processes,
    }


if __name__ == "__main__":
    sys.exit(main())
