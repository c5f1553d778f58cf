"""What the processes of one test session share: a directory, its servers, and turns.

With pytest-xdist a session is a controller and several workers. The controller opens the session
and names its directory in the environment; the workers find it there. A server is started once,
by whoever needs it first, and is ended by the controller.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from tests.services import guard

_DIRECTORY = "PORTFIRE_TEST_SESSION"
_OWNER = "PORTFIRE_TEST_SESSION_PID"


def open_session() -> None:
    """Make this process the owner of a session; every process started from here on is part."""
    os.environ[_DIRECTORY] = tempfile.mkdtemp(prefix="portfire-tests-")
    os.environ[_OWNER] = str(os.getpid())


def close_session() -> None:
    """End the session's servers, wait for that, and remove its directory."""
    for record in directory().glob("*.guard"):
        guard.end(int(record.read_text()), timeout=30.0)
    shutil.rmtree(directory(), ignore_errors=True)


def directory() -> Path:
    """The session's own temporary directory."""
    return Path(os.environ[_DIRECTORY])


def owner() -> int:
    """Pid of the process whose end ends the session."""
    return int(os.environ[_OWNER])


def shared(name: str, start: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `start` returned (JSON types), called once per session by whoever asks first.

    An exception of `start` is not remembered: the next who asks tries again.
    """
    answer = directory() / f"{name}.json"
    with _locked(directory() / f"{name}.lock", fcntl.LOCK_EX):
        if not answer.exists():
            answer.write_text(json.dumps(start()))
    found: dict[str, Any] = json.loads(answer.read_text())
    return found


def keep(name: str, guard_pid: int) -> None:
    """Leave the server under the guard `guard_pid` running until the session ends."""
    (directory() / f"{name}.guard").write_text(str(guard_pid))


@contextmanager
def turn(*, alone: bool) -> Iterator[None]:
    """Run a test beside others, or alone: no other worker's test runs at the same time.

    Everybody passes the door before taking the room, so one who waits for the room to empty
    keeps newcomers out and does get it.
    """
    with _opened(directory() / "room.lock") as room:
        with _locked(directory() / "door.lock", fcntl.LOCK_EX):
            fcntl.flock(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield


@contextmanager
def _locked(path: Path, operation: int) -> Iterator[None]:
    with _opened(path) as handle:
        fcntl.flock(handle, operation)
        yield


@contextmanager
def _opened(path: Path) -> Iterator[IO[str]]:
    # Closing the file gives the lock back, and so does the death of the process.
    with path.open("a") as handle:
        yield handle
