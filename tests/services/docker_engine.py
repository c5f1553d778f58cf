"""A real Docker Engine for tests: the one that answers, else `dockerd` started by root."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from subprocess import Popen

import docker
from docker.errors import DockerException

from examples.wordcount.image import NoImageError, make_image
from tests.services import guard, missing
from tests.waiting import wait_until

#: A busybox of some 2 MB, made here: no image can be pulled on a machine without a registry.
TEST_IMAGE = "portfire-test:1"


class DockerEngine:
    """Docker Engine at its usual socket: used when it answers, else started, as root only.

    An engine that was there before is never stopped. Not thread-safe.
    """

    def __init__(self, directory: Path, *, owner: int | None = None) -> None:
        #: Pid of the process whose end ends an engine started here.
        self.owner = owner or os.getpid()
        self._directory = directory
        self._process: Popen[bytes] | None = None

    def start(self) -> None:
        """Return when an engine answers; skips or fails where none can be had."""
        if not answers():
            self._launch()

    def stop(self) -> None:
        """Stop the engine if it was started here."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60.0)

    @property
    def guard_pid(self) -> int | None:
        """Pid of the guard of an engine started here, else None."""
        return self._process.pid if self._process else None

    def _launch(self) -> None:
        dockerd = shutil.which("dockerd")
        if dockerd is None:
            missing("no Docker Engine here: install it (Debian: apt-get install docker.io)")
        if os.geteuid() != 0:
            missing("no Docker Engine answers, and only root can start one: start it")
        log = self._directory / "dockerd.log"
        self._process = guard.guarded([dockerd], owner=self.owner, log=log, grace=20.0)
        wait_until(lambda: answers() or self._ended(log), timeout=90.0, what="dockerd")

    def _ended(self, log: Path) -> bool:
        if self._process is not None and self._process.poll() is not None:
            raise AssertionError(f"dockerd ended at once:\n{log.read_text()[-2000:]}")
        return False


def answers() -> bool:
    """True when a Docker Engine answers at the usual place (DOCKER_HOST, else its socket)."""
    try:
        client = docker.from_env(timeout=5)
    except DockerException:
        return False
    try:
        client.ping()
    except (DockerException, OSError):
        return False
    finally:
        client.close()
    return True


def make_test_image() -> str:
    """Make the image `TEST_IMAGE` of a static busybox, unless it is there; return its name."""
    try:
        return make_image(TEST_IMAGE)
    except NoImageError as exc:
        missing(f"no test image: {exc}")
