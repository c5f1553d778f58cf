"""Fixtures: a dispatcher's parts on real MongoDB, and a whole one on the embedded broker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fireworks import FWorker, LaunchPad

from dispatcher.daemon import Dispatcher
from dispatcher.settings import DispatcherSettings
from messaging.broker import Broker
from tests.dispatcher.workbench import Running, Workbench


@pytest.fixture
def bench(launchpad: LaunchPad) -> Workbench:
    """The parts that touch the LaunchPad, without Pub/Sub."""
    return Workbench(launchpad)


@pytest.fixture
def start_dispatcher(launchpad: LaunchPad, broker: Broker) -> Iterator[Callable[..., Running]]:
    """Starts dispatchers on the test's LaunchPad and broker; they are stopped at the end."""
    started: list[Running] = []

    def start(fworker: FWorker | None = None, **settings: Any) -> Running:
        values = {
            "emulator_host": broker.address,
            "prefix": "tests",
            "lease_seconds": 10.0,
            "check_seconds": 0.1,
            "topology_seconds": 0.5,
            **settings,
        }
        chosen = DispatcherSettings(**values)
        dispatcher = Dispatcher(chosen, launchpad, fworker or FWorker(), chosen.connect())
        running = Running(dispatcher, chosen)
        started.append(running)
        return running

    yield start
    for running in started:
        running.stop()
