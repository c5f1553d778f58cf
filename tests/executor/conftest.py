"""Fixtures: an installation on the embedded broker, executors in it, and single children."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from executor.daemon import Executor
from executor.nursery import ChildHandle, Nursery
from executor.records import ChildOptions
from messaging.broker import Broker
from tests.executor.conversation import Conversation
from tests.executor.engine import Engine
from tests.executor.installation import Installation


@pytest.fixture
def nursery() -> Nursery:
    """The fork server of this test process."""
    nursery = Nursery()
    nursery.start()
    return nursery


@pytest.fixture
def child(nursery: Nursery) -> Iterator[ChildHandle]:
    """One child process."""
    child = nursery.spawn(ChildOptions("tester", 1, "local", {}, 60.0))
    yield child
    child.kill()
    child.close()


@pytest.fixture
def talk(child: ChildHandle, tmp_path: Path) -> Conversation:
    """Launches in that child."""
    return Conversation(child, tmp_path)


@pytest.fixture
def installation(nursery: Nursery, tmp_path: Path) -> Iterator[Installation]:  # noqa: ARG001 - the fork server comes before gRPC
    """A fresh broker with topics and the default pool."""
    with Broker() as broker:
        installation = Installation(broker, tmp_path / "work")
        yield installation
        installation.pubsub.close()


@pytest.fixture
def start_executor(installation: Installation) -> Iterator[Callable[..., Executor]]:
    """Starts executors in the installation; they are stopped at the end."""
    executors: list[Executor] = []

    def start(**settings: Any) -> Executor:
        executor = Executor(installation.settings(**settings))
        executors.append(executor)
        executor.start()
        return executor

    yield start
    for executor in executors:
        executor.request_stop(now=True)
    for executor in executors:
        executor.stop()


@pytest.fixture
def engine(docker_engine: str) -> Iterator[Engine]:
    """The Docker Engine; what a test began there is removed at its end."""
    client = docker.DockerClient(timeout=30)
    engine = Engine(client, docker_engine)
    yield engine
    engine.remove_all()
    client.close()


@pytest.fixture
def store(tmp_path: Path) -> dict[str, Any]:
    """Settings of storage whose files are copied."""
    (tmp_path / "store").mkdir()
    return {"storage": "nfs", "storage_options": {"workdir": str(tmp_path / "store")}}
