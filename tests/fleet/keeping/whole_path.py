"""A workflow on a kept fleet whose VMs are real processes, some of them preempted on the way."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fireworks import Firework, LaunchPad, PyTask, Workflow

from tests.commands.programs import Ended, finish
from tests.faults.site import LEASE_SECONDS, Site, environment
from tests.fleet.keeping.park import VmPark
from tests.services.gce import FakeGce
from tests.waiting import wait_until

JOB_SECONDS = 0.05
_ZONES = "us-central1-a,us-central1-b"


@dataclass(frozen=True)
class Run:
    """What it came to."""

    seconds: float
    ended: Ended
    #: Fireworks by state.
    states: dict[str, int]
    #: VMs that were preempted, in order.
    preempted: list[str]
    #: VMs and processes at the end.
    vms: list[str]
    processes: list[str]
    #: VMs that were made, Spot or not.
    spot: int
    on_demand: int

    @property
    def record(self) -> dict[str, Any]:
        """What the keeper says of itself."""
        found: dict[str, Any] = json.loads(self.ended.output)
        return found


def layered(jobs: int, width: int) -> Workflow:
    """Short jobs, each of which waits for two of the layer before."""
    fireworks: list[Firework] = []
    for number in range(jobs):
        layer, place = divmod(number, width)
        above = fireworks[(layer - 1) * width : layer * width] if layer else []
        parents = [above[place], above[(place + 1) % width]] if above else []
        task = PyTask(func="time.sleep", args=[JOB_SECONDS])
        fireworks.append(Firework([task], parents=parents, name=f"job-{number}"))
    return Workflow(fireworks)


def run_whole_path(
    directory: Path,
    launchpad: LaunchPad,
    gce: FakeGce,
    *,
    vms: int,
    jobs: int,
    preemptions: int,
    seed: int = 1,
    timeout: float = 100.0,
    quiet: bool = False,
) -> Run:
    """Run it; `portfire gce keep` must end by itself within `timeout` seconds.

    At the end all logs are printed, unless it is to be `quiet`.
    """
    launchpad.add_wf(layered(jobs, width=max(vms * 3, 10)))
    out = contextlib.redirect_stdout(io.StringIO()) if quiet else contextlib.nullcontext()
    with out, Site(directory, launchpad) as site:
        variables = {
            "PUBSUB_EMULATOR_HOST": site.address,
            "PORTFIRE_PREFIX": site.pubsub_settings.prefix,
            "PORTFIRE_LEASE_SECONDS": str(LEASE_SECONDS),
        }
        with VmPark(gce, directory, variables) as park:
            site.start_broker()
            site.start_dispatcher()
            began = time.monotonic()
            keeper = _start_keeper(directory, site.launchpad_file, gce, vms)
            storm = _Storm(gce, launchpad, jobs, preemptions, seed, keeper)
            storm.start()
            try:
                ended = finish(keeper, timeout)
            finally:
                storm.join()
            seconds = time.monotonic() - began
            states = Counter(fw["state"] for fw in launchpad.fireworks.find({}, {"state": 1}))
            made = [call.body["scheduling"] for call in gce.called("instances.insert")]
            spot = sum(scheduling["provisioningModel"] == "SPOT" for scheduling in made)
            return Run(
                seconds=seconds,
                ended=ended,
                states=dict(states),
                preempted=storm.preempted,
                vms=gce.names,
                processes=park.alive,
                spot=spot,
                on_demand=len(made) - spot,
            )


def _start_keeper(
    directory: Path, launchpad_file: Path, gce: FakeGce, vms: int
) -> subprocess.Popen[str]:
    flags = [
        *("keep", "sim", "--max", str(vms), "--spot", "--zone", _ZONES, "-l", str(launchpad_file)),
        *("-f", "fireworker", "--machine-type", "n1-standard-1", "-m", "threads=1"),
        *("-m", "idle_for_rockets=20", "-m", "heartbeat_seconds=1"),
        *("--worth", "0", "--interval", "0.5", "--quiet", "2", "--json"),
    ]
    return subprocess.Popen(
        [sys.executable, "-m", "portfire", "gce", *flags],
        cwd=directory,
        env=environment(
            directory,
            CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE=f"{gce.address}/compute/v1/",
            GOOGLE_CLOUD_PROJECT="my-project",
        ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


class _Storm:
    """Preempts Spot VMs that work, one at each of some points of the workflow's progress."""

    def __init__(
        self,
        gce: FakeGce,
        launchpad: LaunchPad,
        jobs: int,
        times: int,
        seed: int,
        keeper: subprocess.Popen[str],
    ) -> None:
        self._gce, self._launchpad, self._keeper = gce, launchpad, keeper
        self._random = random.Random(seed)
        # Not near the end, where nothing needs to be replaced.
        self._points = sorted(self._random.randrange(1, jobs * 3 // 4) for _ in range(times))
        self.preempted: list[str] = []
        self._thread = threading.Thread(target=self._run, name="storm")

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        if self._keeper.poll() is None:
            os.kill(self._keeper.pid, signal.SIGKILL)
        self._thread.join()

    def _run(self) -> None:
        for point in self._points:
            wait_until(functools.partial(self._is_due, point), timeout=600.0, what="progress")
            spot = [name for name in self._gce.names if self._is_spot(name)]
            if self._keeper.poll() is not None:
                return
            if spot:
                name = self._random.choice(spot)
                self.preempted.append(name)
                # Half of them have no notice at all.
                self._gce.preempt(name, self._random.choice([0.0, 1.0]))

    def _is_due(self, point: int) -> bool:
        done = self._launchpad.fireworks.count_documents({"state": "COMPLETED"})
        return done >= point or self._keeper.poll() is not None

    def _is_spot(self, name: str) -> bool:
        vm = self._gce.world.instances
        found = [each for (_, known), each in list(vm.items()) if known == name]
        return any(
            each["status"] == "RUNNING" and each["scheduling"]["provisioningModel"] == "SPOT"
            for each in found
        )
