"""Fixtures: a VM's metadata server, and executors as the service on that VM runs them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from messaging.pubsub import Outgoing
from messaging.wire import PoolState
from tests.executor.installation import Installation
from tests.faults.site import Daemon, environment
from tests.services.gce import FakeGce, serving_gce
from tests.services.metadata_server import MetadataServer, metadata_server
from tests.waiting import wait_until

VM, ZONE, PROJECT = "vm-1", "us-central1-a", "my-project"
StartService = Callable[..., Daemon]
Announce = Callable[..., None]


@pytest.fixture
def metadata() -> Iterator[MetadataServer]:
    """The metadata server of VM `VM`."""
    with metadata_server(VM, PROJECT) as server:
        yield server


@pytest.fixture
def gce() -> Iterator[FakeGce]:
    """A Compute Engine that has this VM."""
    with serving_gce() as gce:
        gce.world.instances[ZONE, VM] = {"name": VM, "zone": f"zones/{ZONE}", "status": "RUNNING"}
        yield gce


@pytest.fixture
def start_service(
    installation: Installation, metadata: MetadataServer, tmp_path: Path
) -> Iterator[StartService]:
    """Starts `portfire executor` on the VM, with variables; returns when it takes jobs (or says
    something else), or ends.
    """
    daemons: list[Daemon] = []

    def start(
        *flags: str,
        gce: FakeGce | None = None,
        until: str = " takes jobs of pool ",
        **variables: str,
    ) -> Daemon:
        settings = tmp_path / "portfire.yml"
        values = {"emulator_host": installation.broker.address, "lease_seconds": 10, "threads": 1}
        settings.write_text(yaml.safe_dump({**values, "workdir": str(tmp_path / "work")}))
        if gce is not None:
            variables["CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE"] = f"{gce.address}/compute/v1/"
        daemon = Daemon(
            "executor",
            [sys.executable, "-m", "portfire", "executor", *flags, str(settings)],
            environment(tmp_path, **{"GCE_METADATA_HOST": metadata.host, **variables}),
            tmp_path / f"executor-{len(daemons)}.log",
        )
        daemons.append(daemon)
        wait_until(
            lambda: until in daemon.said or not daemon.is_alive,
            timeout=60.0,
            what="the executor",
        )
        return daemon

    yield start
    for daemon in daemons:
        daemon.kill()
        # pytest shows this when the test has failed.
        sys.stdout.write(f"----- {daemon.process.returncode}\n{daemon.said}\n")


@pytest.fixture
def announce(installation: Installation) -> Announce:
    """Says how the pool fares, as its dispatcher does."""

    def say(*, ready: int = 0, waiting: int = 0, in_flight: int = 0, pool: str = "default") -> None:
        state = PoolState(pool=pool, ready=ready, waiting=waiting, in_flight=in_flight)
        installation.pubsub.publish(installation.names.control, [Outgoing(state.encode())])

    return say
