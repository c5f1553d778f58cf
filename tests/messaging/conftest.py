"""The servers that the conformance suite examines."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from messaging.broker import Broker
from tests.messaging.pubsub import PubsubServer, connected


@pytest.fixture(scope="session")
def emulator_address(pubsub_emulator: str) -> str:
    """Google's emulator, shared by all workers of the session: use a project of your own."""
    return pubsub_emulator


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
