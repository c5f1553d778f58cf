"""One broker for the tests of events, and an installation of its own for each test."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from messaging.broker import Broker
from messaging.names import Names
from messaging.pubsub import PubSub
from messaging.settings import PubSubSettings


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    with Broker() as broker:
        yield broker


@pytest.fixture
def settings(broker: Broker) -> PubSubSettings:
    """Settings with a prefix that no other test uses."""
    return PubSubSettings(emulator_host=broker.address, prefix=f"test-{uuid.uuid4().hex[:8]}")


@pytest.fixture
def names(settings: PubSubSettings) -> Names:
    return settings.names


@pytest.fixture
def pubsub(settings: PubSubSettings) -> Iterator[PubSub]:
    with settings.connect() as pubsub:
        yield pubsub
