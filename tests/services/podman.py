"""A real Podman that serves Docker's API on a socket of its own, with storage of its own."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
from docker.errors import DockerException

from examples.wordcount.image import file_system
from tests.services import guard, missing
from tests.waiting import wait_until

#: As Podman names what came from no registry.
IMAGE = "localhost/portfire-test"
#: The defaults ask for more open files and processes than a container that tests run in may have.
_CONFIG = """\
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
events_logger = "file"
"""


@contextmanager
def start_podman() -> Iterator[str]:
    """Podman's service for a while; the value is for ``DOCKER_HOST``. It has the image `IMAGE`.

    Skips or fails where it cannot be had. Run containers without a network: Podman's would stay.
    """
    program, busybox = shutil.which("podman"), shutil.which("busybox")
    if program is None or busybox is None:
        missing("no Podman here: install it (Debian: apt-get install podman catatonit)")
    if os.geteuid() != 0:
        missing("Podman is tried as root only: run the tests as root")
    with tempfile.TemporaryDirectory(prefix="portfire-podman-") as directory:
        place = Path(directory)
        (place / "containers.conf").write_text(_CONFIG)
        address = f"unix://{place / 'podman.sock'}"
        process = guard.guarded(
            [
                *("env", f"CONTAINERS_CONF={place / 'containers.conf'}", program),
                *("--root", str(place / "root"), "--runroot", str(place / "run")),
                # Storage without mounts, so that the directory can be removed at the end.
                *("--tmpdir", str(place / "tmp"), "--storage-driver", "vfs"),
                *("system", "service", "--time=0", address),
            ],
            owner=os.getpid(),
            log=place / "log",
        )
        try:
            wait_until(lambda: _answers(address), timeout=60.0, what="Podman's service")
            _make_image(address, Path(busybox))
            yield address
        finally:
            process.terminate()
            process.wait(30.0)


def _answers(address: str) -> bool:
    try:
        client = docker.APIClient(base_url=address, timeout=5)
    except DockerException:
        return False
    try:
        return bool(client.ping())
    except (DockerException, OSError):
        return False
    finally:
        client.close()


def _make_image(address: str, busybox: Path) -> None:
    client = docker.APIClient(base_url=address, timeout=60)
    # Podman takes the name from here, and no tag.
    client.import_image_from_data(file_system(busybox), IMAGE)
    client.close()
