"""The daemons of the chaos run under a supervisor that starts again what ended, as systemd would.

Every process has the site's mark in its environment, which its children inherit: so those that
were left behind can be told from all others of the machine.
"""

from __future__ import annotations

import re
import signal
import sys
import threading
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil
import yaml

from tests.faults.site import Daemon, environment
from tests.services.mongodb import MongoServer, free_port
from tests.waiting import wait_until

#: The shortest that Pub/Sub allows.
LEASE_SECONDS = 10.0
#: An executor that is killed each few seconds is not the fault of the jobs that it had: so many
#: attempts.
_DISPATCHER = {
    "check_seconds": 0.5,
    "topology_seconds": 1.0,
    "lost_seconds": 5.0,
    "max_attempts": 50,
}
_EXECUTOR = {"heartbeat_seconds": 1.0, "grace_seconds": 5.0}
#: What a daemon says when it has started, or stands by.
_WORKS = re.compile(" takes jobs of pool |dispatching |standing by")
_MARK = "PORTFIRE_CHAOS_SITE"


class Site:
    """Broker, MongoDB, dispatchers and executors. `watch_over` and all else from one thread.

    A context manager: entering starts MongoDB, and leaving kills all that is left.
    """

    def __init__(self, directory: Path, threads: int) -> None:
        """Nothing is started yet; `threads` are the slots of an executor."""
        self.directory = directory
        self.workdir = directory / "work"
        self.mark = uuid.uuid4().hex
        self.mongodb = MongoServer(directory / "mongodb")
        #: How often each was killed, and ended by itself.
        self.kills: Counter[str] = Counter()
        self.ends: Counter[str] = Counter()
        self.address = f"127.0.0.1:{free_port()}"
        self._threads = threads
        self._commands: dict[str, Sequence[str]] = {}
        self._running: dict[str, Daemon] = {}
        self._restarting: threading.Thread | None = None
        variables = {
            "PUBSUB_EMULATOR_HOST": self.address,
            "PORTFIRE_PREFIX": "chaos",
            "PORTFIRE_WORKDIR": str(self.workdir),
            "PORTFIRE_LEASE_SECONDS": str(LEASE_SECONDS),
            _MARK: self.mark,
        }
        self._env = environment(directory, **variables)

    def __enter__(self) -> Site:
        self.mongodb.start()
        return self

    def __exit__(self, *_: object) -> None:
        for daemon in self._running.values():
            daemon.kill()
        self._await_mongodb()
        self.mongodb.stop()
        for process in self.processes():
            process.kill()

    def start(self, launchpad_file: Path, dispatchers: int, executors: int) -> None:
        """Start all daemons; returns when they work."""
        port = self.address.rsplit(":", 1)[1]
        self._add("broker", ["broker", "--port", port])
        self._file("dispatcher", _DISPATCHER)
        self._file("executor", {**_EXECUTOR, "threads": self._threads})
        wait_until(lambda: "PUBSUB_EMULATOR_HOST" in self._running["broker"].said, what="broker")
        for number in range(dispatchers):
            arguments = ["-l", str(launchpad_file), "dispatcher.yml"]
            self._add(f"dispatcher {number}", ["dispatcher", *arguments])
        for number in range(executors):
            self._add(f"executor {number}", ["executor", "executor.yml"])
        wait_until(self._all_work, 60.0, "all daemons to work")

    @property
    def victims(self) -> list[str]:
        """The dispatchers and executors, in their order."""
        return [name for name in self._commands if name != "broker"]

    def watch_over(self) -> None:
        """Start again what has ended."""
        for name, daemon in list(self._running.items()):
            if not daemon.is_alive:
                if daemon.process.returncode != -signal.SIGKILL:
                    self.ends[name] += 1
                self._start(name)

    def kill(self, name: str) -> bool:
        """SIGKILL a daemon; False when it is not running."""
        daemon = self._running[name]
        if not daemon.is_alive:
            return False
        daemon.kill()
        self.kills[name.split()[0]] += 1
        return True

    def restart_mongodb(self, *, killed: bool) -> None:
        """End MongoDB, by SIGKILL or politely, and start it again on its data, in a thread."""
        self._await_mongodb()
        self.kills["MongoDB"] += 1

        def restart() -> None:
            self.mongodb.kill() if killed else self.mongodb.stop()
            self.mongodb.start()

        self._restarting = threading.Thread(target=restart, name="mongodb-restart")
        self._restarting.start()

    def stop(self) -> list[str]:
        """End all daemons politely; what was wrong with that."""
        wrong = []
        for names in (self.victims, ["broker"]):
            for name in names:
                self._running[name].process.terminate()
            for name in names:
                code = self._running[name].wait(60.0)
                if code not in (0, -signal.SIGTERM):
                    wrong.append(f"{name} ended with {code}")
        self._running.clear()
        return wrong

    def processes(self) -> list[psutil.Process]:
        """All that has this site's mark in its environment."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(_MARK) == self.mark and not _is_over(process):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def said(self, kind: str, pattern: str) -> int:
        """How often the logs of daemons whose names begin with `kind` have the pattern."""
        logs = [log.read_text(errors="replace") for log in self.directory.glob(f"{kind}*.log")]
        return sum(len(re.findall(pattern, log, re.MULTILINE)) for log in logs)

    def _all_work(self) -> bool:
        return all(_WORKS.search(self._running[name].said) for name in self.victims)

    def _await_mongodb(self) -> None:
        if self._restarting is not None:
            self._restarting.join()

    def _add(self, name: str, arguments: Sequence[str]) -> None:
        self._commands[name] = [sys.executable, "-m", "portfire", "-v", *arguments]
        self._start(name)

    def _start(self, name: str) -> None:
        log = self.directory / f"{name.replace(' ', '-')}.log"
        self._running[name] = Daemon(name, self._commands[name], self._env, log)

    def _file(self, name: str, settings: Mapping[str, object]) -> None:
        (self.directory / f"{name}.yml").write_text(yaml.safe_dump(dict(settings)))


def _is_over(process: psutil.Process) -> bool:
    return bool(process.status() == psutil.STATUS_ZOMBIE)
