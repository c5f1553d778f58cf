"""gcp-storage-emulator: Cloud Storage's JSON API from memory, a process of its own.

It ignores preconditions and credentials, and is slower than its clients.
"""

from __future__ import annotations

import shutil
import sys
import uuid
from pathlib import Path
from subprocess import Popen
from typing import Any

import requests

from tests.services import guard, missing, session
from tests.services.mongodb import free_port
from tests.waiting import wait_until


class GcsEmulator:
    """One emulator process. Not thread-safe."""

    def __init__(self, directory: Path, *, owner: int) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = directory / "gcs-emulator.log"
        self._owner = owner
        self._process: Popen[bytes] | None = None

    @property
    def guard_pid(self) -> int:
        """Pid of the process that ends the emulator with its owner."""
        assert self._process is not None, "the emulator was not started"
        return self._process.pid

    def start(self) -> str:
        """Start it and return its URL when it answers; skips or fails where it is missing."""
        program = shutil.which("gcp-storage-emulator", path=str(Path(sys.executable).parent))
        if program is None:
            missing("no GCS emulator here: pip install gcp-storage-emulator")
        address = ["--host=127.0.0.1", f"--port={self.port}"]
        command = [program, "start", *address, "--in-memory", "--default-bucket=portfire"]
        self._process = guard.guarded(command, owner=self._owner, log=self._log)
        wait_until(self._answers, timeout=60.0, what=f"the GCS emulator at {self.url}")
        return self.url

    def _answers(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            raise AssertionError(f"the GCS emulator ended:\n{self._log.read_text()[-2000:]}")
        try:
            return requests.get(f"{self.url}/storage/v1/b/portfire", timeout=5.0).ok
        except requests.ConnectionError:
            return False


def shared_emulator() -> str:
    """URL of the session's emulator, shared by all workers: use buckets of your own."""

    def start() -> dict[str, Any]:
        emulator = GcsEmulator(session.directory(), owner=session.owner())
        url = emulator.start()
        session.keep("gcs-emulator", emulator.guard_pid)
        return {"url": url}

    url: str = session.shared("gcs-emulator", start)["url"]
    return url


def new_bucket(url: str) -> str:
    """The name of a bucket made for the caller in the emulator at `url`."""
    name = f"portfire-{uuid.uuid4().hex[:12]}"
    answer = requests.post(
        f"{url}/storage/v1/b", params={"project": "test"}, json={"name": name}, timeout=30.0
    )
    answer.raise_for_status()
    return name
