"""A MongoDB for one benchmark run, and LaunchPads on it."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from fireworks import LaunchPad

from tests.services.mongodb import MongoServer


@dataclass(frozen=True)
class Bench:
    """A MongoDB server and a directory to work in."""

    host: str
    port: int
    directory: Path
    #: The process id of mongod.
    mongod: int

    def launchpad(self, name: str) -> tuple[Any, Path]:
        """A fresh LaunchPad on the database `name`, and its my_launchpad.yaml."""
        launchpad = LaunchPad(self.host, self.port, name, strm_lvl="ERROR")
        launchpad.reset("", require_password=False, max_reset_wo_password=10**9)
        file = self.directory / f"{name}.yaml"
        file.write_text(f"host: {self.host}\nport: {self.port}\nname: {name}\nstrm_lvl: ERROR\n")
        return launchpad, file


@contextmanager
def bench() -> Iterator[Bench]:
    """A running MongoDB; ends with the block. Main thread only: SIGTERM ends the block as well."""
    with (
        ended_by_sigterm(),
        tempfile.TemporaryDirectory(prefix="portfire-bench-") as path,
    ):
        server = MongoServer(Path(path) / "mongodb", owner=os.getpid())
        address = server.start()
        try:
            # mongod runs as the only child of its guard.
            mongod = psutil.Process(server.guard_pid).children()[0].pid
            yield Bench(address.host, address.port, Path(path), mongod)
        finally:
            server.stop()


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Unwind at SIGTERM, lest the processes that were started outlive us."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def prepare(launchpad: Any, workflows: list[Any]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Add the workflows and take them out again: what `release` then puts in, within a moment.

    So that running daemons find all jobs at once, and FireWorks' way of adding is not timed.
    """
    # Under another name first: whatever watches the LaunchPad must not start with half of them.
    staging = LaunchPad(launchpad.host, launchpad.port, f"{launchpad.name}_made", strm_lvl="ERROR")
    staging.reset("", require_password=False, max_reset_wo_password=10**9)
    counter = launchpad.fw_id_assigner.find_one_and_update(
        {}, {"$inc": {"next_fw_id": 2 * sum(len(workflow.fws) for workflow in workflows)}}
    )
    staging.fw_id_assigner.update_one({}, {"$set": {"next_fw_id": counter["next_fw_id"]}})
    staging.bulk_add_wfs(workflows)
    made = [
        # What may begin last, when all that follows from it is there.
        (collection, sorted(staging.db[collection].find(), key=lambda one: one["state"] == "READY"))
        # The workflow first: a Firework without one cannot be claimed.
        for collection in ("workflows", "fireworks")
    ]
    staging.connection.drop_database(staging.name)
    return made


def release(launchpad: Any, made: list[tuple[str, list[dict[str, Any]]]]) -> None:
    """Put what `prepare` made in the LaunchPad."""
    for collection, documents in made:
        launchpad.db[collection].insert_many(documents, ordered=False)


def wait_until_completed(
    launchpad: Any, jobs: int, pids: Iterable[int] = (), timeout: float = 3600.0
) -> int:
    """Wait until so many Fireworks are COMPLETED; how often that was asked.

    Asks five times a second, to take little from what is measured. Raises SystemExit when a job
    fails, when one of the processes `pids` ends, or after `timeout` seconds.
    """
    processes = [psutil.Process(pid) for pid in pids]
    deadline = time.monotonic() + timeout
    for asked in itertools.count(1):
        found = launchpad.fireworks.aggregate([{"$sortByCount": "$state"}])
        states = {one["_id"]: one["count"] for one in found}
        if states.get("COMPLETED", 0) >= jobs:
            return asked
        dead = any(process.status() == psutil.STATUS_ZOMBIE for process in processes)
        if dead or "FIZZLED" in states or time.monotonic() > deadline:
            raise SystemExit(
                f"{states.get('COMPLETED', 0)} of {jobs} jobs completed"
                f"{', and a daemon ended' if dead else ''}: {states}"
            )
        time.sleep(0.2)
    raise AssertionError
