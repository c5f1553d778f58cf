"""VMs of the fake Compute Engine that are real executor processes with metadata servers."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.site import Daemon, environment
from tests.services.gce import FakeGce
from tests.services.gce_world import last_part
from tests.services.metadata_server import MetadataServer, metadata_server


@dataclass(frozen=True)
class _Machine:
    daemon: Daemon
    metadata: MetadataServer
    resources: ExitStack


class VmPark:
    """What runs on the VMs. A context manager: leaving it ends all of it."""

    def __init__(self, gce: FakeGce, directory: Path, variables: Mapping[str, str]) -> None:
        """`variables` are in the environment of each VM's service, as its image sets them."""
        self._gce, self._directory, self._variables = gce, directory, dict(variables)
        self._machines: dict[str, _Machine] = {}
        self._lock = threading.Lock()
        #: Every executor process that ever was, by its VM's name.
        self.daemons: dict[str, Daemon] = {}
        gce.world.on_start, gce.world.on_delete = self._start, self._end
        gce.world.on_preempt, gce.world.on_metadata = self._preempt, self._tell

    def __enter__(self) -> VmPark:
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self._machines):
            self._end({"name": name})
        for name, daemon in self.daemons.items():
            # pytest shows this when the test has failed.
            sys.stdout.write(f"----- {name} ({daemon.process.returncode})\n{daemon.said}\n")

    @property
    def alive(self) -> list[str]:
        """VMs whose process runs."""
        return [name for name, daemon in self.daemons.items() if daemon.is_alive]

    def _start(self, vm: dict[str, Any]) -> None:
        name, resources = vm["name"], ExitStack()
        metadata = resources.enter_context(metadata_server(name, "my-project"))
        metadata.move_to(last_part(vm["zone"]))
        metadata.set_attributes(**_attributes(vm))
        if vm["scheduling"]["provisioningModel"] == "SPOT":
            metadata.make_preemptible()
        home = self._directory / name
        home.mkdir()
        env = environment(
            home,
            GCE_METADATA_HOST=metadata.host,
            PORTFIRE_WORKDIR=str(home / "work"),
            CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE=f"{self._gce.address}/compute/v1/",
            **self._variables,
        )
        command = [sys.executable, "-m", "portfire", "executor"]
        daemon = Daemon(name, command, env, home / "executor.log")
        with self._lock:
            self._machines[name] = _Machine(daemon, metadata, resources)
            self.daemons[name] = daemon

    def _tell(self, vm: dict[str, Any]) -> None:
        self._machines[vm["name"]].metadata.set_attributes(**_attributes(vm))

    def _preempt(self, vm: dict[str, Any]) -> None:
        machine = self._machines[vm["name"]]
        machine.metadata.preempt()
        # Its operating system shuts down.
        machine.daemon.send(signal.SIGTERM)

    def _end(self, vm: dict[str, Any]) -> None:
        with self._lock:
            machine = self._machines.pop(vm["name"], None)
        if machine is None:
            return
        # The machine is off: nothing of it goes on.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(machine.daemon.process.pid, signal.SIGKILL)
        machine.daemon.kill()
        machine.resources.close()


def _attributes(vm: dict[str, Any]) -> dict[str, str]:
    return {item["key"]: item["value"] for item in vm["metadata"].get("items", [])}
