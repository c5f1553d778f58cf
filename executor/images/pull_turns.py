"""Turns among the processes of one executor that want the same image: one pulls, all use it.

A turn is an advisory lock on a file; the kernel gives it back when its holder dies, and a signal
handler that raises ends the wait for it. The file tells of the last pull, with a serial number: one
whose number is higher than what stood there when a process asked for its turn began after that, so
its outcome counts for that process too, also a failure: eight slots do not ask a registry that is
away eight times over. A pull that was interrupted, or whose process died, counts for nobody.

The files are never removed: a lock on a file that somebody else removes and makes again is none.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from messaging.errors import JobError, PortfireError, ServiceError

_MOST = 4096


@dataclass(frozen=True, slots=True)
class _Pull:
    """The last pull of an image, as the file has it."""

    serial: int = 0
    platform: str | None = None
    ended: bool = False
    #: One line, if it failed.
    failure: str | None = None
    #: Whether that was the job's fault.
    refused: bool = False


class PullTurn:
    """The right to pull an image, while it lasts. Used by the thread that has it."""

    def __init__(self, file: int, asked: int | None) -> None:
        self._file = file
        self._asked = asked

    @contextmanager
    def pulling(self, platform: str | None) -> Iterator[bool]:
        """The value is whether to pull: not if that was done since this turn was asked for.

        Raises that pull's error (JobError or ServiceError) if it failed, and keeps that of the
        pull inside for those who wait.
        """
        last = _read(self._file) or _Pull()
        if last.ended and last.platform == platform and self._is_later(last):
            if last.failure is not None:
                raise (JobError if last.refused else ServiceError)(last.failure)
            yield False
            return
        serial = last.serial + 1
        self._write(_Pull(serial, platform))
        try:
            yield True
        except PortfireError as exc:
            self._write(_Pull(serial, platform, True, str(exc), isinstance(exc, JobError)))
            raise
        self._write(_Pull(serial, platform, ended=True))

    def _is_later(self, last: _Pull) -> bool:
        return self._asked is not None and last.serial > self._asked

    def _write(self, pull: _Pull) -> None:
        data = json.dumps(asdict(pull)).encode()
        # In this order the file is never empty for one who reads it meanwhile.
        os.pwrite(self._file, data, 0)
        os.ftruncate(self._file, len(data))


@contextmanager
def pull_turn(directory: Path | None, key: str) -> Iterator[PullTurn]:
    """Wait for the turn to pull what `key` names, and have it inside the ``with`` block.

    All who share `directory` take turns, processes and threads alike; None is one directory for all
    of this user's. It is made if need be. Waits as long as others pull, unless a signal handler
    raises. Raises ServiceError when the directory cannot be used.
    """
    path = (directory or _default_directory()) / hashlib.sha256(key.encode()).hexdigest()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.parent.lstat().st_uid != os.getuid():
            raise ServiceError(f"{path.parent} belongs to somebody else: remove it")
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as exc:
        raise ServiceError(f"cannot take turns at pulling images in {path.parent}: {exc}") from exc
    try:
        last = _read(file)
        fcntl.flock(file, fcntl.LOCK_EX)
        yield PullTurn(file, last.serial if last else None)
    finally:
        # Gives the lock back.
        os.close(file)


def _default_directory() -> Path:
    return Path(tempfile.gettempdir()) / f"portfire-images-{os.getuid()}"


def _read(file: int) -> _Pull | None:
    """What the file says; None when it is just being written."""
    data = os.pread(file, _MOST, 0)
    if not data:
        return _Pull()
    try:
        return _Pull(**json.loads(data))
    except (ValueError, TypeError):
        return None
