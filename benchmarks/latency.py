"""Idle start latency: from add_wf on an idle system to the start of the task; median of 30.

    python -m benchmarks.latency [--rounds 30]

Broker, dispatcher and executor run as processes of their own, as on a fleet.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import time

from fireworks import Firework, PyTask, Workflow

from benchmarks.daemons import daemons
from benchmarks.database import bench
from tests.waiting import wait_until


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="idle start latency")
    parser.add_argument("--rounds", type=int, default=30)
    rounds = parser.parse_args().rounds
    with bench() as place:
        launchpad, file = place.launchpad("latency")
        with daemons(place, file, threads=2):
            seconds = []
            for number in range(rounds + 1):
                task = PyTask(func="time.time", stored_data_varname="started")
                began = time.time()
                ids = launchpad.add_wf(Workflow([Firework([task], name=f"round {number}")]))
                fw_id = next(iter(ids.values()))
                wait_until(
                    functools.partial(
                        launchpad.fireworks.find_one, {"fw_id": fw_id, "state": "COMPLETED"}
                    ),
                    timeout=60,
                    what=f"round {number}",
                )
                launch = launchpad.launches.find_one({"fw_id": fw_id})
                seconds.append(launch["action"]["stored_data"]["started"] - began)
    # The first one waits for the daemons to be up.
    measured = sorted(seconds[1:])
    print(
        f"add_wf to task start, {rounds} rounds: "
        f"median {statistics.median(measured) * 1e3:.0f} ms, "
        f"least {measured[0] * 1e3:.0f} ms, most {measured[-1] * 1e3:.0f} ms"
    )


if __name__ == "__main__":
    main()
