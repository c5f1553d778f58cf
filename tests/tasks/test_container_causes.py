"""Every way in which a container ends, provoked on the real engine, and what is said of it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import psutil
import pytest

from executor.containers.end import ContainerEnded
from executor.containers.engine import connected
from executor.containers.run import run_container
from executor.containers.spec import ContainerSpec, Resources
from tests.services import missing
from tests.waiting import wait_until

MEGABYTE = 1 << 20
_LABEL = "portfire.test-of-causes"

Run = Callable[..., ContainerEnded]


@pytest.fixture
def client(docker_engine: str) -> Iterator[docker.DockerClient]:  # noqa: ARG001 - started first
    connection = docker.DockerClient.from_env(timeout=30)
    yield connection
    connection.close()


@pytest.fixture
def run(docker_engine: str, tmp_path: Path, request: pytest.FixtureRequest) -> Run:
    """Runs a line of shell in a container and looks at its end; the output is ``printed``."""

    def run_line(line: str, **wanted: Any) -> ContainerEnded:
        spec = ContainerSpec(
            image=docker_engine,
            command=["sh", "-c", line],
            labels={_LABEL: request.node.name},
            user=f"{os.getuid()}:{os.getgid()}",
            **{"timeout": 60.0, "stop_grace": 2.0, **wanted},
        )
        with connected() as connection:
            return run_container(connection, spec, tmp_path / "printed")

    return run_line


def later(client: docker.DockerClient, name: str, act: Callable[[Any], None]) -> threading.Thread:
    """Do something to the container of the test `name` as soon as it runs."""

    def wait_and_act() -> None:
        label: Any = {"label": f"{_LABEL}={name}"}
        wait_until(lambda: bool(client.containers.list(filters=label)), timeout=30.0, what="it")
        act(client.containers.list(filters=label)[0])

    thread = threading.Thread(target=wait_and_act)
    thread.start()
    return thread


def test_success_is_success(run: Run) -> None:
    ended = run("echo hello")
    assert ended.cause == "success"
    assert ended.reason("it", timeout=60, memory=None) is None


def test_an_exit_code_is_an_exit(run: Run) -> None:
    ended = run("exit 3")
    assert (ended.cause, ended.exit_code, ended.signal) == ("exit", 3, None)


def test_a_segmentation_fault_is_a_signal(run: Run) -> None:
    ended = run("kill -SEGV $$")
    assert (ended.cause, ended.signal) == ("signal", "SIGSEGV")


def test_memory_over_the_limit_is_told_as_such(run: Run) -> None:
    ended = run("tail /dev/zero", resources=Resources(memory=32 * MEGABYTE))
    assert ended.cause == "out-of-memory"
    assert ended.oom_killed
    assert "33,554,432 bytes" in (ended.reason("it", timeout=60, memory=32 * MEGABYTE) or "")


def test_a_child_out_of_memory_that_the_command_survives_is_no_failure(run: Run) -> None:
    ended = run("tail /dev/zero; echo went on", resources=Resources(memory=32 * MEGABYTE))
    assert ended.cause == "success"


def test_137_alone_is_not_out_of_memory(run: Run) -> None:
    ended = run("exit 137")
    assert ended.cause == "signal"
    assert not ended.oom_killed


def test_a_kill_from_outside_is_not_out_of_memory(
    run: Run, client: docker.DockerClient, request: pytest.FixtureRequest
) -> None:
    killer = later(client, request.node.name, lambda container: container.kill())
    ended = run("sleep 60")
    killer.join()
    assert (ended.cause, ended.foreign_signals) == ("killed", ("SIGKILL",))


def test_time_that_is_over_is_a_timeout_with_the_grace(run: Run) -> None:
    began = time.monotonic()
    ended = run('trap "" TERM; while :; do sleep 1; done', timeout=1.0)
    assert (ended.cause, ended.exit_code) == ("timeout", 137)
    assert 3.0 <= time.monotonic() - began < 30.0


def test_a_task_that_heeds_sigterm_needs_no_grace(run: Run) -> None:
    ended = run("exec sleep 60", timeout=1.0, stop_grace=30.0)
    assert (ended.cause, ended.exit_code) == ("timeout", 143)


@pytest.mark.alone
def test_a_slow_engine_does_not_delay_the_outcome(
    run: Run, client: docker.DockerClient, request: pytest.FixtureRequest
) -> None:
    name = request.node.name
    pid = int(Path("/var/run/docker.pid").read_text())
    if os.geteuid() != 0 or psutil.Process(pid).name() != "dockerd":
        missing("the Docker Engine is not this machine's own, or not ours to halt: run as root")
    halter = later(client, name, lambda _: os.kill(pid, signal.SIGSTOP))
    began = time.monotonic()
    try:
        ended = run("sleep 60", timeout=3.0)
        seconds = time.monotonic() - began
    finally:
        halter.join()
        os.kill(pid, signal.SIGCONT)
    assert ended.cause == "timeout"
    # The time-out, the grace of 2 s, and 2 s more; some for a busy machine.
    assert seconds < 3.0 + 2.0 + 2.0 + 3.0
    # The removal that it was asked for goes on when it does.
    label: Any = {"label": f"{_LABEL}={name}"}
    wait_until(
        lambda: not client.containers.list(all=True, filters=label, ignore_removed=True),
        timeout=60.0,
        what="it",
    )


def test_all_output_is_there_in_order(run: Run, tmp_path: Path) -> None:
    run("i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done")
    lines = (tmp_path / "printed").read_text().splitlines()
    assert lines == [f"line {number}" for number in range(20_000)]


def test_a_container_may_do_little(run: Run, tmp_path: Path) -> None:
    run("grep -E 'CapEff|NoNewPrivs' /proc/self/status; cat /sys/fs/cgroup/pids/pids.max; true")
    text = (tmp_path / "printed").read_text()
    assert "CapEff:\t0000000000000000" in text
    assert "NoNewPrivs:\t1" in text


def test_what_it_used_is_told(run: Run) -> None:
    ended = run("head -c 30000000 /dev/zero > /dev/shm/x; sleep 2", resources=Resources())
    assert ended.metrics["memory"] > 25_000_000
    assert ended.metrics["cpu_seconds"] > 0
    assert {"network_received", "network_sent", "block_read", "block_written"} <= set(ended.metrics)
