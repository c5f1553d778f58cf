"""The servers that the conformance suite examines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from messaging.broker import Broker
from tests.messaging.pubsub import PubsubServer, connected
from tests.services import session
from tests.services.pubsub_emulator import PubsubEmulator


@pytest.fixture(scope="session")
def emulator_address() -> str:
    """Google's emulator, shared by all workers of the session: use a project of your own."""

    def start() -> dict[str, Any]:
        emulator = PubsubEmulator(session.directory(), owner=session.owner())
        address = emulator.start()
        session.keep("pubsub-emulator", emulator.guard_pid)
        return {"address": address}

    address: str = session.shared("pubsub-emulator", start)["address"]
    return address


@pytest.fixture(scope="session")
def embedded_address() -> Iterator[str]:
    """The embedded broker, one for each worker."""
    with Broker() as broker:
        yield broker.address


@pytest.fixture(params=["embedded", "emulator"])
def server(request: pytest.FixtureRequest) -> Iterator[PubsubServer]:
    """Each server in turn, with a project of the test's own."""
    address = request.getfixturevalue(f"{request.param}_address")
    with connected(address, request.param) as clients:
        yield clients


@pytest.fixture
def embedded(embedded_address: str) -> Iterator[PubsubServer]:
    """The embedded broker alone, for what only it promises."""
    with connected(embedded_address, "embedded") as clients:
        yield clients
