"""Broker and executor of a local run, as child processes that are started again when they die."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import yaml

from executor.settings import ExecutorSettings
from messaging.errors import PortfireError, UsageError

log = logging.getLogger(__name__)

#: A child process that dies so soon, so many times in a row, cannot be kept alive. Not merely so
#: many times: a job that kills its executor must come to the end of its attempts.
_SOON_SECONDS = 5.0
_MAX_EARLY_DEATHS = 5
_STOP_SECONDS = 10.0
_EXECUTOR_VARIABLES = tuple(ExecutorSettings.environment_names().values())


@dataclass
class Child:
    """A child process that is started again when it dies."""

    name: str
    arguments: list[str]
    environment: Mapping[str, str]
    stdout: int | None = None
    #: Monotonic time, in seconds.
    started: float = 0.0
    early_deaths: int = 0
    process: subprocess.Popen[str] | None = field(default=None)

    def start(self) -> subprocess.Popen[str]:
        """Start, in a session of its own: Ctrl-C is for us, who then stop it in order."""
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "portfire", *self.arguments, "--stop-with-parent"],
            env=dict(self.environment),
            stdout=self.stdout,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            text=True,
        )
        return self.process

    def note_death(self) -> bool:
        """Count it; whether there is a point in starting again."""
        early = time.monotonic() - self.started < _SOON_SECONDS
        self.early_deaths = self.early_deaths + 1 if early else 0
        return self.early_deaths < _MAX_EARLY_DEATHS

    def stop(self, timeout: float) -> None:
        """SIGTERM, and SIGKILL after `timeout` seconds. Idempotent."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            log.warning("%s did not stop within %g s: killed", self.name, timeout)
            self.process.kill()
            self.process.wait()


class LocalProcesses:
    """Broker and executor of one run; started again when they die. A context manager."""

    def __init__(self, settings: ExecutorSettings, prefix: str) -> None:
        self.failure: str | None = None
        #: Called once when a child cannot be kept alive.
        self.on_failure: Callable[[], None] = lambda: None
        self._settings = settings
        self._prefix = prefix
        self._stopping = threading.Event()
        self._children: list[Child] = []
        self._files = contextlib.ExitStack()

    def __enter__(self) -> LocalProcesses:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start_broker(self) -> str:
        """Start the broker; its address."""
        environment = {**os.environ}
        child = Child("broker", ["broker", "--port", "0"], environment, stdout=subprocess.PIPE)
        output = child.start().stdout
        line = output.readline() if output else ""
        if "=" not in line:
            raise PortfireError("the embedded broker did not start: see its message above")
        address = line.strip().split("=", 1)[1]
        # Should it have to be started again, then where its clients look for it.
        child.arguments[2] = address.rsplit(":", 1)[1]
        self._supervise(child)
        return address

    def start_executor(self, address: str) -> None:
        """Start the executor on that broker."""
        # By file, not by environment: these settings have been put together already, and whatever
        # else the environment says must not go over them.
        file = self._settings.workdir / f".{self._prefix}.yml"
        text = yaml.safe_dump(self._executor_settings(address))
        try:
            # For nobody else's eyes: storage options may be secret.
            file.touch(mode=0o600)
            file.write_text(text, encoding="utf-8")
        except OSError as exc:
            raise PortfireError(f"workdir {file.parent} cannot be used: {exc.strerror}") from exc
        self._files.callback(file.unlink, missing_ok=True)
        environment = {**os.environ}
        # Executors have no database; FireWorks would read and write this one at import and exit.
        for variable in ("MONGOMOCK_SERVERSTORE_FILE", *_EXECUTOR_VARIABLES):
            environment.pop(variable, None)
        arguments = ["executor", str(file)]
        child = Child("executor", arguments, environment, stdout=sys.stderr.fileno())
        child.start()
        self._supervise(child)

    def _executor_settings(self, address: str) -> dict[str, Any]:
        values: dict[str, Any] = self._settings.model_dump(mode="json")
        if "executor_id" not in self._settings.model_fields_set:
            # One that is started again is another executor.
            del values["executor_id"]
        return {**values, "emulator_host": address, "prefix": self._prefix}

    def stop_executor(self) -> None:
        """Let it finish or give back what runs, and wait for its end."""
        self._stopping.set()
        for child in self._children:
            if child.name == "executor":
                child.stop(self._settings.grace_seconds + _STOP_SECONDS)

    def hurry_executor(self) -> None:
        """Make it give back at once what runs: its second signal."""
        for child in self._children:
            if child.name == "executor" and child.process is not None:
                child.process.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        """End all, executor first. Idempotent."""
        self.stop_executor()
        for child in self._children:
            child.stop(_STOP_SECONDS)
        self._files.close()

    def _supervise(self, child: Child) -> None:
        self._children.append(child)
        threading.Thread(
            target=self._watch, args=(child,), name=f"watch-{child.name}", daemon=True
        ).start()

    def _watch(self, child: Child) -> None:
        assert child.process is not None
        while True:
            _discard(child.process.stdout)
            code = child.process.wait()
            if self._stopping.is_set():
                return
            if code == 2 or not child.note_death():
                self.failure = f"the {child.name} ended with exit code {code}"
                self.on_failure()
                return
            log.warning("the %s died (exit code %d): started again", child.name, code)
            child.start()


def _discard(stream: IO[str] | None) -> None:
    if stream is not None:
        for _line in stream:
            pass


@contextlib.contextmanager
def run_slot(workdir: Path) -> Iterator[str]:
    """A prefix that no other running run has, and that a run killed here before us had.

    Each run under `workdir` holds the lock of a numbered file; the prefix is derived from host,
    directory and number. So what a killed run left RESERVED or RUNNING is found and taken over by
    the next one, and two at the same time leave each other's launches alone.
    """
    identity = f"{socket.gethostname()}:{workdir.resolve()}"
    digest = hashlib.sha256(identity.encode()).hexdigest()[:10]
    for number in range(1, 1000):
        with _open_lock(workdir, number) as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield f"run-{digest}-{number}"
            return
    raise PortfireError(f"1000 runs work in {workdir} already")


def _open_lock(workdir: Path, number: int) -> IO[str]:
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        return (workdir / f".run-{number}.lock").open("w")
    except OSError as exc:
        raise UsageError(
            f"workdir {workdir} cannot be used: {exc.strerror}; name one that you may write to "
            "with --workdir"
        ) from exc
