"""A pull for which the engine has no space, on an engine of the test's own."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import docker
import psutil
import pytest

from executor.containers.engine import connected
from executor.images.ensuring import ensure_image
from messaging.errors import ServiceError
from tests.services import guard, missing, session
from tests.services.docker_engine import answers
from tests.services.registry import Registries
from tests.tasks.conftest import RecordingContext
from tests.tasks.images.published import PublishedImage
from tests.waiting import wait_until

_MB = 1_000_000


@pytest.fixture
def small_engine(
    image_registries: Registries,  # noqa: ARG001 - its files are served
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[None]:
    """A Docker Engine that can keep 16 MB, in the place of the usual one.

    It has a network namespace of its own, with a registry inside that serves the same images: an
    engine without a bridge removes the bridge that another engine on this machine uses.
    """
    if shutil.which("dockerd") is None or os.geteuid() != 0:
        missing("no Docker Engine of the test's own: it takes dockerd and root")
    # Of a path that is short enough for the engine's sockets.
    home = Path(tempfile.mkdtemp(prefix="portfire-"))
    data = home / "data"
    data.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={16 * _MB}", "tmpfs", str(data)]
    if subprocess.run(mount, check=False).returncode:
        missing("no small disk for a Docker Engine: this machine lets nobody mount a tmpfs")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{home}/docker.sock")
    servers = []
    try:
        servers.append(_guarded(home, "engine", _engine(home, data)))
        wait_until(answers, timeout=60.0, what="a Docker Engine of the test's own")
        (engine,) = psutil.Process(servers[0].pid).children()
        config = session.directory() / "registry/registry.yml"
        inside = ["nsenter", f"--net=/proc/{engine.pid}/ns/net"]
        command = [*inside, "docker-registry", "serve", str(config)]
        servers.append(_guarded(home, "registry", command))
        yield
    finally:
        for server in reversed(servers):
            server.terminate()
            server.wait(30.0)
        subprocess.run(["umount", str(data)], check=True)
        shutil.rmtree(home, ignore_errors=True)


def _engine(directory: Path, data: Path) -> list[str]:
    options = [
        *("--host", f"unix://{directory}/docker.sock", "--data-root", str(data)),
        *("--exec-root", str(directory / "run"), "--pidfile", str(directory / "pid")),
        *("--bridge", "none", "--iptables=false", "--ip-forward=false"),
    ]
    script = 'ip link set lo up && exec dockerd "$@"'
    return ["unshare", "--net", "sh", "-c", script, "dockerd", *options]


def _guarded(directory: Path, name: str, command: list[str]) -> subprocess.Popen[bytes]:
    log = directory / f"{name}.log"
    return guard.guarded(command, owner=os.getpid(), log=log, grace=20.0)


def test_a_full_disk_is_this_executors_fault(
    client: docker.APIClient,
    image_registries: Registries,
    context: RecordingContext,
    tmp_path: Path,
    small_engine: None,  # noqa: ARG001 - started
) -> None:
    image = PublishedImage(client, image_registries.open, size=20 * _MB)
    # The registry inside may answer a moment later: then the pull is tried again.
    with connected() as small, pytest.raises(ServiceError) as caught:
        ensure_image(small, image.name, context=context, shared_directory=tmp_path / "turns")
    assert "no space left on device" in str(caught.value)
    assert "free space where this executor's engine keeps its images" in str(caught.value)
    assert context.types == ["image-pull.started", "image-pull.finished"]
