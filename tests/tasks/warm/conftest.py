"""A slot's kept containers, and the jobs that it runs in them."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import pytest

from executor.containers.end import ContainerEnded
from executor.containers.engine import connected
from executor.containers.finding import EXECUTOR_LABEL, JOB_LABEL, remove_containers
from executor.containers.output import Listener
from executor.containers.spec import ContainerSpec
from executor.warm.containers import WarmContainers
from tests.waiting import wait_until


@dataclass
class Slot:
    """Runs jobs as a slot does; each has a directory of its own."""

    client: docker.APIClient
    directory: Path
    image: str
    executor: str = field(default_factory=lambda: f"executor-{uuid.uuid4().hex}")
    jobs: int = 0
    warm: WarmContainers = field(init=False)

    def __post_init__(self) -> None:
        self.reopen()

    def reopen(self, **settings: Any) -> None:
        labels = {EXECUTOR_LABEL: self.executor, JOB_LABEL: "warm-1-1"}
        self.warm = WarmContainers(self.directory / "kept", labels, **settings)

    def run(
        self, command: object, *, listen: Listener | None = None, **settings: Any
    ) -> ContainerEnded:
        """Run a job; what it printed and its files are `printed` and `files` then."""
        self.next_job()
        return self.again(command, listen=listen, **settings)

    def next_job(self) -> None:
        self.jobs += 1
        self.files.mkdir(parents=True)

    @contextmanager
    def when_begun(self, act: Callable[[], None]) -> Iterator[None]:
        """In another thread, `act` once the job of the block made the file ``began``."""
        began = self.directory / "kept/1/files/began"

        def wait() -> None:
            wait_until(began.exists, what="the job's beginning")
            act()

        actor = threading.Thread(target=wait)
        actor.start()
        try:
            yield
        finally:
            actor.join()

    def again(
        self, command: object, *, listen: Listener | None = None, **settings: Any
    ) -> ContainerEnded:
        """Run a job in the directory that is there."""
        defaults = {"image": self.image, "user": "0:0", "timeout": 60.0, "stop_grace": 5.0}
        prefix = settings.pop("prefix", "/data")
        spec = ContainerSpec(**{**defaults, "labels": {}, "command": command, **settings})
        return self.warm.run(spec, prefix, self.files, self.printed, listen)

    def sh(self, line: str, **settings: Any) -> ContainerEnded:
        """Run a line in a shell of its own."""
        return self.run(["sh", "-c", line], **settings)

    @property
    def files(self) -> Path:
        return self.directory / f"job-{self.jobs}" / "files"

    @property
    def printed(self) -> Path:
        return self.files.parent / "printed"

    @property
    def said(self) -> str:
        return self.printed.read_text()

    def containers(self) -> list[str]:
        """The ids of all of this executor's containers, running or not."""
        wanted = {"label": f"{EXECUTOR_LABEL}={self.executor}"}
        return [found["Id"] for found in self.client.containers(all=True, filters=wanted)]


@pytest.fixture
def client(docker_engine: str) -> Iterator[docker.APIClient]:  # noqa: ARG001 - started first
    """A connection to the engine."""
    with connected() as connection:
        yield connection


@pytest.fixture
def image_id(client: docker.APIClient, docker_engine: str) -> str:
    """The id of the test image."""
    # The stubs have no types here.
    return str(client.inspect_image(docker_engine)["Id"])  # type: ignore[no-untyped-call]


@pytest.fixture
def make_slot(client: docker.APIClient, tmp_path: Path) -> Iterator[Callable[[str], Slot]]:
    """Makes a slot for jobs of an image; at the end nothing of it may be left."""
    slots: list[Slot] = []

    def make(image: str) -> Slot:
        slots.append(Slot(client, tmp_path / f"slot-{len(slots)}", image))
        return slots[-1]

    yield make
    for slot in slots:
        slot.warm.close()
        left = slot.containers()
        remove_containers(executor=slot.executor)
        assert left == []
        assert not (slot.directory / "kept").exists()


@pytest.fixture
def slot(make_slot: Callable[[str], Slot], image_id: str) -> Slot:
    """A slot for jobs of the test image."""
    return make_slot(image_id)
