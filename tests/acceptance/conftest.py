"""Fixtures: daemons on Google's emulator and on our broker."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from messaging.broker import Broker
from tests.acceptance.daemons import Daemons
from tests.acceptance.installation import Installation
from tests.faults.site import Site
from tests.services.mongodb import MongoAddress, launchpads


@pytest.fixture
def emulator_daemons(pubsub_emulator: str, tmp_path: Path) -> Iterator[Daemons]:
    """No daemons yet, on Google's emulator, with a prefix that no other test has."""
    with Daemons(tmp_path, pubsub_emulator, f"acc-{uuid.uuid4().hex[:12]}") as daemons:
        yield daemons


@pytest.fixture
def daemons(broker: Broker, tmp_path: Path) -> Iterator[Daemons]:
    """No daemons yet, on a broker of the test's own."""
    with Daemons(tmp_path, broker.address, "portfire") as daemons:
        yield daemons


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    """An empty directory for the nfs storage backend."""
    directory = tmp_path / "storage"
    directory.mkdir()
    return directory


@pytest.fixture(scope="module")
def installation(
    mongodb: MongoAddress, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """An installation for all tests of a module, on whose executor no Docker Engine answers."""
    with launchpads(mongodb) as make:
        launchpad = make()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
            site = Site(tmp_path_factory.mktemp("installation"), launchpad)
        with site:
            site.start_broker()
            yield Installation(site, launchpad)
