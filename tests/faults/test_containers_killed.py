"""Executors that are killed again and again while their jobs run in containers."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import psutil
import pytest
from fireworks import Firework, LaunchPad, Workflow

from executor.docker_task import DockerTask
from tests.faults.ledger import check_consistent, states, wait_for_all
from tests.faults.site import LEASE_SECONDS, Daemon, Site
from tests.waiting import wait_until

_JOBS = 100
#: Seconds from one kill to the next.
_PACE = 4.0
_KILLS = 6


class Marked:
    """The containers of one test, whichever executor made them."""

    def __init__(self, client: docker.DockerClient) -> None:
        self.mark = uuid.uuid4().hex
        self._client = client

    def all(self) -> list[Any]:
        wanted: Any = {"label": f"test={self.mark}"}
        return self._client.containers.list(all=True, filters=wanted, ignore_removed=True)


@pytest.fixture
def marked(docker_engine: str) -> Iterator[Marked]:  # noqa: ARG001 - started first
    client = docker.DockerClient(timeout=60)
    marked = Marked(client)
    yield marked
    for container in marked.all():
        container.remove(force=True)
    client.close()


def firework(number: int, image: str, mark: str) -> Firework:
    """Reads its input, takes a moment, and writes it twice."""
    parameters: dict[str, Any] = {"labels": {"test": mark}, "network": "none"}
    task = DockerTask(
        name=f"job {number}",
        image=image,
        command=[
            "sh",
            "-c",
            f"cat in/{number} > out/{number}; sleep 0.5; cat in/{number} >> out/{number}",
        ],
        working_dir="/data",
        internal_prefix="/data",
        storage_prefix="run",
        inputs=[f"/data/in/{number}"],
        outputs=[f"/data/out/{number}"],
        **parameters,
    )
    return Firework(task, name=str(number))


def processes_in(directory: Path) -> list[str]:
    """Processes that work in a directory or were told of it."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(directory) in f"{process.cwd()} {process.cmdline()}":
                found.append(f"{process.pid} {process.cmdline()}")
        except psutil.Error:
            continue
    return found


def private_directories(workdir: Path) -> list[Path]:
    return list(workdir.glob("**/.portfire-*"))


@pytest.mark.alone
@pytest.mark.timeout(240)
def test_a_hundred_jobs_in_containers_outlive_their_executors(
    site: Site, launchpad: LaunchPad, docker_engine: str, marked: Marked, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    (store / "run/in").mkdir(parents=True)
    for number in range(_JOBS):
        (store / f"run/in/{number}").write_text(f"input {number}\n")

    def start() -> Daemon:
        return site.start_executor(
            threads=4, storage="nfs", storage_options={"workdir": str(store)}
        )

    jobs = [firework(number, docker_engine, marked.mark) for number in range(_JOBS)]
    launchpad.add_wf(Workflow(jobs, name="hundred"))
    dispatcher = site.start_dispatcher(max_attempts=2 * _KILLS)
    executors = [start(), start()]
    for _ in range(_KILLS):
        # The workflow may end early on a fast machine: then there is nobody left to harm.
        paused = time.monotonic()
        wait_until(lambda since=paused: time.monotonic() - since > _PACE, what="the next kill")  # type: ignore[misc]
        executors.pop(0).kill()
        executors.append(start())
    wait_for_all(launchpad, 2 * LEASE_SECONDS + 60)

    assert set(states(launchpad).values()) == {"COMPLETED"}
    check_consistent(launchpad)
    for number in range(_JOBS):
        written = (store / f"run/out/{number}").read_text()
        assert written == 2 * f"input {number}\n"
    assert len(list((store / "run/out").iterdir())) == _JOBS
    entries = site.workdir / ".portfire/executors"
    wait_until(lambda: len(list(entries.iterdir())) == 2, 40, "the dead to be cleared up after")
    assert marked.all() == []
    assert private_directories(site.workdir) == []
    for executor in executors:
        executor.process.terminate()
        assert executor.wait() == 0
    assert list(entries.iterdir()) == []
    dispatcher.kill()
    site.kill_broker()
    wait_until(lambda: processes_in(tmp_path) == [], 20, "no process")
