"""Portfire's daemons on a Pub/Sub that is there already, and `portfire events` beside them."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from fireworks import LaunchPad

from events.types import make_event
from messaging.names import Names
from messaging.pubsub import Outgoing, PubSub
from tests.commands.programs import Ended, portfire
from tests.faults.site import Daemon, environment
from tests.waiting import wait_until


class Daemons:
    """The daemons of one prefix. A context manager: leaving it kills all that is left."""

    def __init__(self, directory: Path, address: str, prefix: str) -> None:
        self.directory = directory
        self.address = address
        self.names = Names(prefix)
        self.variables = {"PUBSUB_EMULATOR_HOST": address, "PORTFIRE_PREFIX": prefix}
        self._daemons: list[Daemon] = []
        self._events: Daemon | None = None

    def __enter__(self) -> Daemons:
        return self

    def __exit__(self, *_: object) -> None:
        for daemon in self._daemons:
            daemon.kill()
        for daemon in self._daemons:
            # pytest shows this when the test has failed.
            sys.stdout.write(f"----- {daemon.name} ({daemon.process.returncode})\n{daemon.said}\n")

    def start(self, name: str, *arguments: str) -> Daemon:
        """Start `portfire` with these arguments."""
        daemon = Daemon(
            name,
            [sys.executable, "-m", "portfire", *arguments],
            environment(self.directory, **self.variables),
            self.directory / f"{len(self._daemons)}-{name}.log",
        )
        self._daemons.append(daemon)
        return daemon

    def start_dispatcher(self, launchpad: LaunchPad, pool: str = "default") -> Daemon:
        """Start the dispatcher of a pool; returns when it dispatches."""
        file = self.directory / f"launchpad-{pool}.yaml"
        launchpad.to_file(str(file))
        settings = self._settings(f"dispatcher-{pool}", {"check_seconds": 0.3})
        arguments = ("dispatcher", "-l", str(file), "--pool", pool, str(settings))
        daemon = self.start(f"dispatcher-{pool}", *arguments)
        return _when_it_says(daemon, "dispatching ")

    def start_executor(self, pool: str = "default", **settings: Any) -> Daemon:
        """Start an executor called ``<pool>-1``; returns when it takes jobs."""
        own = {
            "executor_id": f"{pool}-1",
            "pool": pool,
            "threads": 2,
            "heartbeat_seconds": 0.5,
            "grace_seconds": 1.0,
            "workdir": str(self.directory / f"work-{pool}"),
        }
        file = self._settings(f"executor-{pool}", {**own, **settings})
        return _when_it_says(self.start(f"executor-{pool}", "executor", str(file)), " takes jobs")

    def start_events(self, *arguments: str) -> None:
        """Start `portfire events`; returns when it prints what is published."""
        self._events = self.start("events", "events", *arguments)
        probe = make_event({"type": "executor.ready", "executor": "probe"})
        message = Outgoing(probe.encode(), probe.attributes())
        with PubSub("portfire-local", self.address) as pubsub:
            pubsub.create_topic(self.names.events)

            def seen() -> bool:
                pubsub.publish(self.names.events, [message])
                deadline = time.monotonic() + 0.5
                while time.monotonic() < deadline:
                    if self.events():
                        return True
                    time.sleep(0.02)
                return False

            wait_until(seen, what="portfire events")

    def events(self, **fields: object) -> list[dict[str, Any]]:
        """What `portfire events` has printed so far with these fields."""
        assert self._events is not None
        whole = self._events.said.rpartition("\n")[0]
        printed: list[dict[str, Any]] = [
            json.loads(line) for line in whole.splitlines() if line.startswith("{")
        ]
        return [each for each in printed if fields.items() <= each.items()]

    def event(self, **fields: object) -> dict[str, Any]:
        """The first event with these fields."""
        return wait_until(lambda: self.events(**fields), what=f"event {fields}")[0]

    def portfire(self, *arguments: str) -> Ended:
        """Run a command to its end."""
        return portfire(self.directory, *arguments, **self.variables)

    def _settings(self, name: str, values: Mapping[str, Any]) -> Path:
        file = self.directory / f"{name}.yml"
        file.write_text(yaml.safe_dump(dict(values)))
        return file


def _when_it_says(daemon: Daemon, text: str) -> Daemon:
    wait_until(lambda: text in daemon.said or not daemon.is_alive, what=daemon.name)
    assert daemon.is_alive, daemon.said
    return daemon
