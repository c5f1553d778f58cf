"""A Docker Engine of the test's own that stops, dies or restarts in the middle of a job."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker
import psutil
import pytest

from examples.wordcount.image import make_image
from executor.containers import watch as container_watch
from executor.docker_task import DockerTask
from executor.failures import PhaseOutageError
from tests.services import guard, missing
from tests.services.docker_engine import TEST_IMAGE, answers
from tests.tasks.conftest import RecordingContext
from tests.waiting import wait_until

#: Ends of itself when the engine says so, as servers do.
_OBEDIENT = "trap 'exit 3' TERM; echo begun; sleep 300 & wait"
#: Ends by SIGKILL only, after the engine's patience.
_STUBBORN = "trap '' TERM; echo begun; sleep 300"


class OwnEngine:
    """A Docker Engine in a network namespace of its own, so that no other one is disturbed."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._guard: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it on the data that it had; returns when it answers."""
        home = self._home
        options = [
            *("--host", f"unix://{home}/docker.sock", "--data-root", str(home / "data")),
            *("--exec-root", str(home / "run"), "--pidfile", str(home / "pid")),
            *("--bridge", "none", "--iptables=false", "--ip-forward=false"),
            *("--shutdown-timeout", "3"),
        ]
        script = 'ip link set lo up && exec dockerd "$@"'
        command = ["unshare", "--net", "sh", "-c", script, "dockerd", *options]
        log = home / "engine.log"
        self._guard = guard.guarded(command, owner=os.getpid(), log=log, grace=30.0)
        wait_until(answers, timeout=60.0, what="a Docker Engine of the test's own")

    def stop(self) -> None:
        """SIGTERM, as a service manager does. Idempotent."""
        if self._guard is not None:
            self._guard.terminate()
            self._guard.wait(40.0)
            self._guard = None

    def kill(self, *, with_containerd: bool) -> None:
        """SIGKILL; its containers run on."""
        assert self._guard is not None
        (engine,) = psutil.Process(self._guard.pid).children()
        helpers = engine.children() if with_containerd else []
        for process in (engine, *helpers):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._guard.wait(30.0)
        self._guard = None
        # containerd ends with its engine; a pid that still exists is one that the next waits for.
        (self._home / "run/containerd/containerd.pid").unlink(missing_ok=True)

    def close(self) -> None:
        """Stop it, and end what a killed one left."""
        self.stop()
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if any(str(self._home) in word for word in process.cmdline()):
                    process.send_signal(signal.SIGKILL)


@pytest.fixture
def own_engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[OwnEngine]:
    """It runs, has the test image, and stands in the place of the usual one."""
    if shutil.which("dockerd") is None or os.geteuid() != 0:
        missing("no Docker Engine of the test's own: it takes dockerd and root")
    # Of a path that is short enough for the engine's sockets.
    home = Path(tempfile.mkdtemp(prefix="portfire-"))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{home}/docker.sock")
    engine = OwnEngine(home)
    try:
        engine.start()
        make_image(TEST_IMAGE)
        yield engine
    finally:
        engine.close()
        _unmount_below(home)
        shutil.rmtree(home, ignore_errors=True)


def _unmount_below(home: Path) -> None:
    places = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for place in sorted((p for p in places if p.startswith(f"{home}/")), reverse=True):
        subprocess.run(["umount", "--lazy", place], check=False)


def containers() -> list[Any]:
    """All that the engine has."""
    client = docker.DockerClient(base_url=os.environ["DOCKER_HOST"], timeout=30)
    try:
        return list(client.containers.list(all=True))
    finally:
        client.close()


@contextmanager
def in_the_middle(act: Callable[[], None]) -> Iterator[None]:
    """`act` in a thread, as soon as a container has printed something; waits for its end."""

    def begun() -> bool:
        return any(b"begun" in container.logs() for container in containers())

    def watch() -> None:
        wait_until(begun, 40.0, "the job's middle")
        act()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        thread.join(90.0)


def run(line: str) -> None:
    task = DockerTask(
        name="t",
        image=TEST_IMAGE,
        command=["sh", "-c", line],
        internal_prefix="/data",
        storage_prefix="run",
        network="none",
        timeout=100,
        outputs=["/data/out/"],
    )
    task.run_task({})


def outage(line: str) -> PhaseOutageError:
    """The job's end, which is not its own."""
    with pytest.raises(PhaseOutageError) as caught:
        run(line)
    assert "\n" not in str(caught.value)
    assert caught.value.retry == "infrastructure"
    return caught.value


@pytest.mark.parametrize("line", [_OBEDIENT, _STUBBORN], ids=["obedient", "stubborn"])
def test_an_engine_that_stops_and_stays_away_is_an_outage(
    own_engine: OwnEngine,
    context: RecordingContext,  # noqa: ARG001 - used by the task
    launch_directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    line: str,
) -> None:
    monkeypatch.setattr(container_watch, "_PATIENCE", 3.0)
    with in_the_middle(own_engine.stop):
        error = outage(line)
    assert "Docker Engine" in error.reason
    assert list(launch_directory.iterdir()) == []


@pytest.mark.parametrize("line", [_OBEDIENT, _STUBBORN], ids=["obedient", "stubborn"])
@pytest.mark.parametrize("how", ["stopped", "killed", "killed with containerd"])
def test_an_engine_that_restarts_is_an_outage_and_leaves_nothing(
    own_engine: OwnEngine,
    context: RecordingContext,  # noqa: ARG001 - used by the task
    launch_directory: Path,
    line: str,
    how: str,
) -> None:
    def restart() -> None:
        if how == "stopped":
            own_engine.stop()
        else:
            own_engine.kill(with_containerd="containerd" in how)
        own_engine.start()

    with in_the_middle(restart):
        error = outage(line)
    assert "Docker Engine" in error.reason
    assert list(launch_directory.iterdir()) == []
    assert containers() == []


@pytest.mark.usefixtures("context", "launch_directory")
def test_an_engine_that_restarts_between_two_jobs_is_no_outage(own_engine: OwnEngine) -> None:
    line = "echo done > /data/out/file"
    run(line)
    own_engine.stop()
    own_engine.start()
    run(line)
    own_engine.kill(with_containerd=True)
    own_engine.start()
    run(line)
    assert containers() == []


@pytest.mark.usefixtures("context", "launch_directory")
def test_an_engine_that_is_away_between_two_jobs_is_an_outage_of_the_second_only(
    own_engine: OwnEngine,
) -> None:
    line = "echo done > /data/out/file"
    run(line)
    own_engine.stop()
    assert "no Docker Engine answers" in outage(line).reason
    own_engine.start()
    run(line)
