"""One pass of one way to run containers, in a process of its own.

python -m benchmarks.container_ways '{"way": "docker SDK", "image": "i:1", "slots": 4, ...}'
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import docker

from benchmarks.files import ROOT
from benchmarks.measured import Cost, cost_of
from executor.containers.finding import EXECUTOR_LABEL, JOB_LABEL
from executor.context import StandaloneContext, use_context
from executor.docker_task import DockerTask
from executor.warm.containers import WarmContainers

#: What is printed in the output case, and where to.
LARGE, PRINTED = "large", "printed"
_ECHO = ["echo", "done"]
#: Seconds after which a pass is stuck.
_PATIENCE = 540.0

Job = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Pass:
    """What one process is to do."""

    way: str
    #: An image with `echo`, `cat` and `sh` that the engine has.
    image: str
    #: Threads that run the jobs.
    slots: int
    jobs: int
    #: Where files may be made; in the output case `LARGE` lies there, and `PRINTED` is made.
    directory: str


@dataclass
class _SlotContext(StandaloneContext):
    """The surroundings of a task in a slot that keeps containers."""

    kept: WarmContainers | None = None

    @property
    def warm(self) -> WarmContainers:
        """Its kept containers."""
        assert self.kept is not None
        return self.kept


def cost(order: Pass) -> Cost:
    """Have it done in a process of its own. Raises CalledProcessError."""
    command = [sys.executable, "-m", "benchmarks.container_ways", json.dumps(asdict(order))]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=600, cwd=ROOT)
    return Cost(**json.loads(done.stdout))


@contextmanager
def _docker_sdk(order: Pass) -> Iterator[Job]:
    """What a script of one's own does: create, start, wait, remove, by one client."""
    client = docker.from_env().api

    def job() -> None:
        container = client.create_container(order.image, _ECHO)["Id"]
        client.start(container)
        assert client.wait(container)["StatusCode"] == 0
        client.remove_container(container)

    try:
        yield job
    finally:
        client.close()


@contextmanager
def _docker_task(order: Pass) -> Iterator[Job]:
    task = _task(order, _ECHO)
    yield lambda: _run(task)


@contextmanager
def _docker_task_reusing(order: Pass) -> Iterator[Job]:
    """As in a slot: the kept containers are its own."""
    place = Path(order.directory) / f"warm-{uuid.uuid4().hex}"
    labels = {EXECUTOR_LABEL: "benchmark", JOB_LABEL: place.name}
    # Files are moved into a kept container: those of a private directory, not of a shared one.
    private = {"storage": "nfs", "workdir": order.directory}
    task = _task(order, _ECHO, reuse=True, **private)
    context = _SlotContext(kept=WarmContainers(place, labels))

    def job() -> None:
        with use_context(context):
            _run(task)

    try:
        yield job
    finally:
        context.warm.close()


@contextmanager
def _warmed_up(order: Pass) -> Iterator[Job]:
    with _docker_task_reusing(order) as job:
        job()
        yield job


@contextmanager
def _docker_run(order: Pass) -> Iterator[Job]:
    directory = Path(order.directory)
    user = f"{os.getuid()}:{os.getgid()}"
    mount = f"{directory / LARGE}:/data/{LARGE}:ro"
    command = ["docker", "run", "--rm", "--user", user, "--volume", mount, order.image]

    def job() -> None:
        with (directory / PRINTED).open("wb") as file:
            subprocess.run([*command, "cat", f"/data/{LARGE}"], check=True, stdout=file)

    yield job


@contextmanager
def _docker_task_printing(order: Pass) -> Iterator[Job]:
    task = _task(
        order,
        ["cat", f"/data/{LARGE}"],
        inputs=[LARGE],
        outputs=[f">{PRINTED}"],
        storage="local",
        workdir=order.directory,
    )
    yield lambda: _run(task)


#: Each makes a slot ready, in the slot's thread and before the clock starts.
WAYS: Mapping[str, Callable[[Pass], AbstractContextManager[Job]]] = {
    "docker SDK": _docker_sdk,
    "DockerTask": _docker_task,
    "DockerTask, reuse": _warmed_up,
    "DockerTask, reuse, from nothing": _docker_task_reusing,
    "docker run > file": _docker_run,
    "DockerTask, > file": _docker_task_printing,
}


def main() -> None:
    """Do what the argument orders, and print its cost."""
    order = Pass(**json.loads(sys.argv[1]))
    # DockerTask makes its private directories in the working directory.
    os.chdir(order.directory)
    print(json.dumps(asdict(_measured(order))))


def _measured(order: Pass) -> Cost:
    """The cost from when all slots are ready until all jobs are done."""
    jobs: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(order.jobs):
        jobs.put(number)
    together = threading.Barrier(order.slots + 1, timeout=_PATIENCE)
    with ThreadPoolExecutor(order.slots) as pool:
        slots = [pool.submit(_slot, order, jobs, together) for _ in range(order.slots)]
        try:
            together.wait()
            return cost_of(lambda: (together.wait(), together.wait()))
        except threading.BrokenBarrierError:
            errors = [error for slot in slots if (error := slot.exception()) is not None]
            errors.sort(key=lambda error: isinstance(error, threading.BrokenBarrierError))
            raise errors[0] from None


def _slot(order: Pass, jobs: queue.SimpleQueue[int], together: threading.Barrier) -> None:
    try:
        with WAYS[order.way](order) as job:
            together.wait()  # all are ready
            together.wait()  # the clock has started
            while not jobs.empty():
                try:
                    jobs.get_nowait()
                except queue.Empty:
                    break
                job()
            together.wait()
    except BaseException:
        together.abort()
        raise


def _task(order: Pass, command: list[str], **parameters: object) -> DockerTask:
    where = {"internal_prefix": "/data", "storage_prefix": ""}
    return DockerTask(name="benchmark", image=order.image, command=command, **where, **parameters)


def _run(task: DockerTask) -> None:
    task.run_task({})


if __name__ == "__main__":
    main()
