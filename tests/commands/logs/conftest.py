"""Fixtures: a fake Cloud Logging, and handlers that send to it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import pytest

from commands.logs import cloud_handler
from commands.logs.cloud_handler import CloudLogHandler
from commands.logs.cloud_service import CloudLogging
from tests.services.cloud_logging import FakeCloudLogging, serving_cloud_logging

MakeHandler = Callable[..., CloudLogHandler]


@pytest.fixture
def cloud() -> Iterator[FakeCloudLogging]:
    """A Cloud Logging that takes everything."""
    with serving_cloud_logging() as server:
        yield server


@pytest.fixture
def handlers(cloud: FakeCloudLogging, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeHandler]:
    """Makes handlers for the fake. They try again soon."""
    monkeypatch.setattr(cloud_handler, "_GATHER_SECONDS", 0.01)
    monkeypatch.setattr(cloud_handler, "_PAUSES", (0.05,))
    monkeypatch.setattr(cloud_handler, "_REFUSED_PAUSE", 0.05)
    made: list[CloudLogHandler] = []

    def make(**limits: int) -> CloudLogHandler:
        made.append(CloudLogHandler(CloudLogging("my-project", cloud.url), **limits))
        return made[-1]

    yield make
    for handler in made:
        handler.end(1.0)


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """A logger whose records go to the handlers that it is given, and nowhere else."""
    logger = logging.getLogger("tests.cloud")
    logger.propagate = False
    logger.setLevel(logging.DEBUG)
    yield logger
    logger.handlers.clear()
