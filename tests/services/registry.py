"""Real image registries for tests: Debian's docker-registry, open and behind a password."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

import requests

from tests.services import guard, missing
from tests.services.mongodb import free_port
from tests.waiting import wait_until

#: Who may read from a registry behind a password.
USER, PASSWORD = "robot", "open-sesame"
#: The same as an htpasswd line; the registry takes bcrypt only.
_HTPASSWD = f"{USER}:$2y$05$4LiAYj3fIfyuhYYb3pbEzOo4N7mxb8EuCL3G6SlxLc8vGSxY2tUcO\n"


@dataclass(frozen=True)
class Registries:
    """``HOST:PORT`` of two registries that serve the same images."""

    #: Anybody may push and pull.
    open: str
    #: Only `USER` may.
    locked: str


class RegistryServer:
    """One registry process over the directory `images`; starts again on the same port and data.

    Not thread-safe.
    """

    def __init__(self, directory: Path, *, owner: int, locked: bool = False) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self._directory = directory
        self._name = "locked-registry" if locked else "registry"
        self._locked = locked
        self._owner = owner
        self._process: Popen[bytes] | None = None

    @property
    def guard_pid(self) -> int:
        """Pid of the process that ends the registry with its owner."""
        assert self._process is not None, "the registry was not started"
        return self._process.pid

    def start(self) -> str:
        """Start it and return ``HOST:PORT`` when it answers; skips or fails where it is missing."""
        program = shutil.which("docker-registry")
        if program is None:
            missing("no image registry here: install it (Debian: apt-get install docker-registry)")
        log = self._directory / f"{self._name}.log"
        command = [program, "serve", str(self._configured())]
        self._process = guard.guarded(command, owner=self._owner, log=log)
        wait_until(lambda: self._answers(log), timeout=30.0, what=f"a registry at {self.address}")
        return self.address

    def stop(self) -> None:
        """End it; its images stay."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30.0)

    def _configured(self) -> Path:
        lines = [
            "version: 0.1",
            "log: {level: warn, accesslog: {disabled: true}}",
            f"storage: {{filesystem: {{rootdirectory: {self._directory / 'images'}}}}}",
            f"http: {{addr: '{self.address}'}}",
        ]
        if self._locked:
            passwords = self._directory / "htpasswd"
            passwords.write_text(_HTPASSWD)
            lines.append(f"auth: {{htpasswd: {{realm: tests, path: {passwords}}}}}")
        config = self._directory / f"{self._name}.yml"
        config.write_text("\n".join(lines) + "\n")
        return config

    def _answers(self, log: Path) -> bool:
        if self._process is not None and self._process.poll() is not None:
            raise AssertionError(f"docker-registry ended at once:\n{log.read_text()[-2000:]}")
        try:
            status = requests.get(f"http://{self.address}/v2/", timeout=2).status_code
        except requests.RequestException:
            return False
        return status == (401 if self._locked else 200)


@contextmanager
def start_registry() -> Iterator[RegistryServer]:
    """An open registry of one's own for a while."""
    with tempfile.TemporaryDirectory(prefix="portfire-registry-") as directory:
        server = RegistryServer(Path(directory), owner=os.getpid())
        try:
            server.start()
            yield server
        finally:
            server.stop()
