"""A whole installation as real processes: broker, dispatchers, executors, to be killed at will."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from fireworks import LaunchPad

from events.subscriber import Subscription, subscribe
from events.types import Event
from messaging.settings import PubSubSettings
from tests.services.mongodb import free_port
from tests.waiting import PATIENCE, wait_until

REPOSITORY = Path(__file__).parents[2]
#: The shortest that Pub/Sub allows.
LEASE_SECONDS = 10.0
#: Where these point would change what is tested.
_NOT_OURS = (
    *("PUBSUB_EMULATOR_HOST", "GOOGLE_CLOUD_PROJECT", "GCE_METADATA_HOST"),
    *("FW_CONFIG_FILE", "THREADS", "STORAGE"),
)
_DISPATCHER = {"check_seconds": 0.3, "topology_seconds": 1.0}
_EXECUTOR = {"heartbeat_seconds": 0.5, "grace_seconds": 1.0}


def environment(home: Path, **variables: str) -> dict[str, str]:
    """This process's environment without what would lead a program elsewhere, and `variables`."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in _NOT_OURS and not name.startswith("PORTFIRE_")
    }
    # On a VM of Google's, an executor would take its settings from there, and delete it at the end.
    own = {"HOME": str(home), "PYTHONPATH": str(REPOSITORY), "NO_GCE_CHECK": "true"}
    return {**kept, **own, **variables}


class Daemon:
    """One process of an installation."""

    def __init__(
        self, name: str, command: Sequence[str], env: Mapping[str, str], log: Path
    ) -> None:
        self.name = name
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                command,
                env=dict(env),
                cwd=log.parent,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None

    @property
    def said(self) -> str:
        """All that it wrote."""
        return self.log.read_text(errors="replace")

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and wait for the end. Idempotent."""
        self.process.kill()
        self.process.wait()

    def wait(self, timeout: float = 30.0) -> int:
        """Wait for its own end; the exit code."""
        return self.process.wait(timeout * PATIENCE)


class Site:
    """An installation on one LaunchPad. A context manager: leaving it kills all that is left."""

    def __init__(
        self, directory: Path, launchpad: LaunchPad | None, host: str = "127.0.0.1"
    ) -> None:
        """`host` is where the broker listens."""
        self.directory = directory
        self.workdir = directory / "work"
        self.address = f"{host}:{free_port()}"
        #: Of processes that are started from now on.
        self.lease_seconds = LEASE_SECONDS
        self.events: list[Event] = []
        self.pubsub_settings = PubSubSettings(emulator_host=self.address, prefix="faults")
        self.names = self.pubsub_settings.names
        self._daemons: list[Daemon] = []
        self._subscription: Subscription | None = None
        self.launchpad_file = directory / "my_launchpad.yaml"
        if launchpad is not None:
            launchpad.to_file(str(self.launchpad_file))
        self._env = environment(
            directory,
            PUBSUB_EMULATOR_HOST=self.address,
            PORTFIRE_PREFIX="faults",
            PORTFIRE_WORKDIR=str(self.workdir),
            PORTFIRE_LOST_SECONDS="3",
        )

    def __enter__(self) -> Site:
        return self

    def __exit__(self, *_: object) -> None:
        if self._subscription is not None:
            self._subscription.close()  # which the broker shall still hear
        for daemon in self._daemons:
            daemon.kill()
        for daemon in self._daemons:
            # pytest shows this when the test has failed.
            sys.stdout.write(f"----- {daemon.name} ({daemon.process.returncode})\n{daemon.said}\n")

    def start_broker(self, before: Sequence[str] = ()) -> Daemon:
        """Start the broker, always on the same port; returns when it serves.

        `before` is a command that runs another one, given after it.
        """
        host, port = self.address.rsplit(":", 1)
        command = ["-m", "portfire", "-v", "broker", "--host", host, "--port", port]
        broker = self._start("broker", command, before)
        wait_until(lambda: "PUBSUB_EMULATOR_HOST" in broker.said, what="the broker")
        return broker

    def kill_broker(self) -> None:
        """SIGKILL to the broker; what it held is gone."""
        for daemon in self._daemons:
            if daemon.name == "broker":
                daemon.kill()

    def start_dispatcher(self, *flags: str, driver: Sequence[str] = (), **settings: Any) -> Daemon:
        """Start a dispatcher; `driver` is a script and its arguments that run it."""
        file = self._settings_file("dispatcher", {**_DISPATCHER, **settings})
        start = list(driver) or ["-m", "portfire", "-v"]
        flags = ("dispatcher", "-l", str(self.launchpad_file), *flags, str(file))
        return self._start("dispatcher", [*start, *flags])

    def start_executor(self, threads: int = 1, **settings: Any) -> Daemon:
        """Start an executor; returns when it takes jobs."""
        file = self._settings_file("executor", {**_EXECUTOR, "threads": threads, **settings})
        daemon = self._start("executor", ["-m", "portfire", "-v", "executor", str(file)])
        wait_until(
            lambda: " takes jobs of pool " in daemon.said or not daemon.is_alive, what="executor"
        )
        assert daemon.is_alive, daemon.said
        return daemon

    def watch(self) -> None:
        """Collect events from now on."""
        self._subscription = subscribe(self.pubsub_settings)
        self._subscription.watch(self.events.append)

    def event(self, event_type: str, timeout: float = 20.0) -> Event:
        """The first event of that type."""
        return wait_until(lambda: self.seen(event_type), timeout, f"event {event_type}")[0]

    def seen(self, event_type: str) -> list[Event]:
        """The events of that type so far."""
        return [event for event in self.events if event.type == event_type]

    def _start(self, name: str, arguments: Sequence[str], before: Sequence[str] = ()) -> Daemon:
        log = self.directory / f"{len(self._daemons)}-{name}.log"
        env = {**self._env, "PORTFIRE_LEASE_SECONDS": str(self.lease_seconds)}
        daemon = Daemon(name, [*before, sys.executable, *arguments], env, log)
        self._daemons.append(daemon)
        return daemon

    def _settings_file(self, name: str, settings: Mapping[str, Any]) -> Path:
        file = self.directory / f"{name}-{len(self._daemons)}.yml"
        file.write_text(yaml.safe_dump(dict(settings)))
        return file
