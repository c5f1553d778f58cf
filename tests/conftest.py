"""Fixtures: the real parts, each started once per session by the first test that asks for it.

Markers: `alone` for a test that measures time or needs the whole machine: no other test runs
beside it, whatever the number of workers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fireworks import LaunchPad
from selenium.webdriver.remote.webdriver import WebDriver

from messaging.broker import Broker
from tests.services import docker_engine as engines
from tests.services import s3, session
from tests.services.browser import open_browser
from tests.services.docker_engine import DockerEngine
from tests.services.gcs_emulator import shared_emulator
from tests.services.gridftp import shared_server
from tests.services.mongodb import MongoAddress, MongoServer, launchpads
from tests.services.pubsub_emulator import PubsubEmulator
from tests.services.registry import Registries, RegistryServer
from tests.waiting import PATIENCE


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "alone: no other test may run at the same time")
    # FireWorks looks for a task's class in all modules of its packages, its own tests included.
    config.addinivalue_line("markers", "mongodb: a marker of FireWorks' own tests")
    if not _is_worker(config):
        session.open_session()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests that run alone come last: until then nobody has to wait for an empty machine."""
    items.sort(key=lambda item: item.get_closest_marker("alone") is not None)
    if config.getoption("timeout") is not None:
        return
    for item in items:
        limit = item.get_closest_marker("timeout")
        seconds = float(limit.args[0] if limit else config.getini("timeout") or 0)
        item.add_marker(pytest.mark.timeout(seconds * PATIENCE), append=False)


def pytest_unconfigure(config: pytest.Config) -> None:
    if not _is_worker(config):
        session.close_session()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    # Outermost, so that waiting for a turn does not count against the test's timeout.
    with session.turn(alone=item.get_closest_marker("alone") is not None):
        return (yield)


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


@pytest.fixture(scope="session")
def mongodb() -> MongoAddress:
    """The session's MongoDB server, shared by all workers: use a database name of your own."""

    def start() -> dict[str, Any]:
        server = MongoServer(session.directory() / "mongodb", owner=session.owner())
        address = server.start()
        session.keep("mongodb", server.guard_pid)
        return {"host": address.host, "port": address.port}

    return MongoAddress(**session.shared("mongodb", start))


@pytest.fixture
def make_launchpad(mongodb: MongoAddress) -> Iterator[Callable[[], LaunchPad]]:
    """Makes fresh LaunchPads, each on a database of its own that is dropped after the test."""
    with launchpads(mongodb) as make:
        yield make


@pytest.fixture
def launchpad(make_launchpad: Callable[[], LaunchPad]) -> LaunchPad:
    """A fresh LaunchPad on real MongoDB."""
    return make_launchpad()


@pytest.fixture(scope="session")
def docker_engine() -> str:
    """A Docker Engine that answers at its usual place; the value is the test image's name."""

    def start() -> dict[str, Any]:
        engine = DockerEngine(session.directory(), owner=session.owner())
        engine.start()
        if engine.guard_pid is not None:
            session.keep("docker", engine.guard_pid)
        return {"image": engines.make_test_image()}

    image: str = session.shared("docker", start)["image"]
    return image


@pytest.fixture(scope="session")
def image_registries() -> Registries:
    """The session's image registries, shared by all workers: use repositories of your own."""

    def start() -> dict[str, Any]:
        directory = session.directory() / "registry"
        directory.mkdir(exist_ok=True)
        addresses = {}
        for name, locked in (("open", False), ("locked", True)):
            server = RegistryServer(directory, owner=session.owner(), locked=locked)
            addresses[name] = server.start()
            session.keep(f"{name}-registry", server.guard_pid)
        return addresses

    return Registries(**session.shared("registries", start))


@pytest.fixture
def broker() -> Iterator[Broker]:
    """An embedded broker of the test's own, serving on a free port (`.address`)."""
    broker = Broker()
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture(scope="session")
def pubsub_emulator() -> str:
    """``HOST:PORT`` of Google's Pub/Sub emulator, shared by all workers: use names of your own."""

    def start() -> dict[str, Any]:
        emulator = PubsubEmulator(session.directory(), owner=session.owner())
        address = emulator.start()
        session.keep("pubsub-emulator", emulator.guard_pid)
        return {"address": address}

    address: str = session.shared("pubsub-emulator", start)["address"]
    return address


@pytest.fixture(scope="session")
def s3_endpoint() -> str:
    """The URL of an S3 service, shared by all workers: use buckets of your own."""
    return s3.shared_endpoint()


@pytest.fixture(scope="session")
def gcs_emulator() -> str:
    """URL of gcp-storage-emulator, shared by all workers: use buckets of your own."""
    return shared_emulator()


@pytest.fixture
def browser() -> Iterator[WebDriver]:
    """A window of a real Chromium that reaches this machine only; see `tests.services.browser`."""
    with open_browser() as driver:
        yield driver


@pytest.fixture(scope="session")
def gridftp_server() -> tuple[str, Path]:
    """URL and directory of a GridFTP server, shared by all workers: use places of your own."""
    return shared_server()
