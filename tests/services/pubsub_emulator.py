"""Google's own Pub/Sub emulator, a Java program that comes with the Google Cloud SDK."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen

from messaging.errors import ServiceError
from messaging.pubsub import PubSub
from tests.services import guard, missing
from tests.services.mongodb import free_port
from tests.waiting import wait_until


def emulator_jar() -> Path | None:
    """The emulator's jar beside the SDK that `gcloud` belongs to; None where there is none."""
    gcloud = shutil.which("gcloud")
    if gcloud is None:
        return None
    library = Path(gcloud).resolve().parent.parent / "platform" / "pubsub-emulator" / "lib"
    return max(library.glob("cloud-pubsub-emulator-*-all.jar"), default=None)


class PubsubEmulator:
    """One emulator process with its state in memory. Not thread-safe."""

    def __init__(self, directory: Path, *, owner: int) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self._log = directory / "pubsub-emulator.log"
        self._owner = owner
        self._process: Popen[bytes] | None = None

    @property
    def guard_pid(self) -> int:
        """Pid of the process that ends the emulator with its owner."""
        assert self._process is not None, "the emulator was not started"
        return self._process.pid

    def start(self) -> str:
        """Start it and return ``HOST:PORT`` when it answers; skips or fails where it is missing."""
        jar, java = emulator_jar(), shutil.which("java")
        if jar is None:
            missing("Google's Pub/Sub emulator is not here: install google-cloud-cli's part of it")
        if java is None:
            missing("Google's Pub/Sub emulator needs Java: install a JRE")
        host, _, port = self.address.partition(":")
        command = [java, "-jar", str(jar), f"--host={host}", f"--port={port}"]
        self._process = guard.guarded(command, owner=self._owner, log=self._log)
        wait_until(self._answers, timeout=60.0, what=f"the Pub/Sub emulator at {self.address}")
        return self.address

    def stop(self) -> None:
        """End it; its state is lost."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30.0)

    def _answers(self) -> bool:
        process = self._process
        if process is None or process.poll() is not None:
            missing(f"Google's Pub/Sub emulator does not start; see {self._log}")
        # It takes connections some seconds before it answers on them.
        with PubSub("portfire-local", self.address) as pubsub:
            try:
                pubsub.topic_exists("any-topic")
            except ServiceError:
                return False
        return True


@contextmanager
def start_emulator() -> Iterator[str]:
    """An emulator of one's own for a while; the value is its ``HOST:PORT``."""
    with tempfile.TemporaryDirectory(prefix="portfire-pubsub-") as directory:
        emulator = PubsubEmulator(Path(directory), owner=os.getpid())
        try:
            yield emulator.start()
        finally:
            emulator.stop()
