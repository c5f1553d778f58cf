"""Who works in a workdir, so that a dead executor's leavings are found and a living one's spared.

Each executor has a directory ``.portfire/executors/ID`` in its workdir, with a file ``lock`` that
it holds locked while it lives, a file ``host``, an empty file for each job that runs, named like
the job's directory and how much of that is to go (``whole+DIRECTORY``), and the directories of kept
containers. The lock goes with the process, however
that ends; what lies beside a lock that nobody holds is what a dead executor left.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from executor.failures import one_line
from executor.files.workspace import remove_private, remove_tree
from messaging.errors import PortfireError, UsageError

logger = logging.getLogger(__name__)

_PLACE = Path(".portfire/executors")
#: Whether all of a job's directory goes with its executor, or only what was private in it.
_WHOLE, _PRIVATE = "whole", "private"
_LOCK, _HOST = "lock", "host"


class Residence:
    """This executor's entry. `began` and `ended` may be called from any thread."""

    def __init__(self, workdir: Path, executor: str) -> None:
        self.workdir = workdir
        self._directory = workdir / _PLACE / executor
        self._lock: IO[str] | None = None

    @property
    def directory(self) -> Path:
        """The entry, in which kept containers have their files."""
        return self._directory

    def enter(self, remove_containers: Callable[[str], int]) -> None:
        """Make the entry, first clearing up after a dead executor of the same id, as `reap` does.

        Raises UsageError when a living one has the same id here, or it cannot be made.
        """
        try:
            with _door(self.workdir):
                lock = self._locked_entry()
                if (self._directory / _HOST).exists():
                    _clear_up_after(self._directory, self.workdir, remove_containers)
                    lock.close()
                    lock = self._locked_entry()
                (self._directory / _HOST).write_text(socket.gethostname())
                self._lock = lock
        except OSError as exc:
            raise UsageError(
                f"workdir {self.workdir} cannot be used: {exc.strerror} ({exc.filename})"
            ) from exc

    def _locked_entry(self) -> IO[str]:
        self._directory.mkdir(parents=True, exist_ok=True)
        lock = (self._directory / _LOCK).open("a")
        if _locked(lock):
            return lock
        lock.close()
        raise UsageError(
            f"executor_id {self._directory.name!r} is taken by an executor that runs in "
            f"{self.workdir}: give each its own"
        )

    def began(self, directory: Path, *, raw: bool) -> None:
        """A job runs in `directory`, which lies in the workdir. Raises OSError."""
        file = self._entry_of(directory, _WHOLE if raw else _PRIVATE)
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT, 0o666))

    def ended(self, directory: Path) -> None:
        """It left nothing there that is not wanted."""
        for kind in (_PRIVATE, _WHOLE):
            with contextlib.suppress(OSError):
                self._entry_of(directory, kind).unlink()
                return

    def _entry_of(self, directory: Path, kind: str) -> Path:
        return self._directory / f"{kind}+{directory.name}"

    def leave(self, *, clean: bool = True) -> None:
        """Remove the entry; if not `clean`, it stays for others to clear up after. Idempotent."""
        lock, self._lock = self._lock, None
        if lock is not None:
            if clean:
                remove_tree(self._directory)
            lock.close()


def reap(workdir: Path, remove_containers: Callable[[str], int]) -> int:
    """Clear up after the dead executors of this machine that worked in `workdir`; how many.

    `remove_containers` is given an executor's id; if it raises PortfireError, that executor's turn
    comes again with the next call. Private directories are removed, and those of raw jobs whole;
    launch directories stay, as FireWorks keeps them. Never raises.
    """
    count = 0
    for directory in _entries(workdir / _PLACE):
        try:
            with _door(workdir), _deserted(directory) as deserted:
                if deserted:
                    _clear_up_after(directory, workdir, remove_containers)
                    count += 1
        except (PortfireError, OSError) as exc:
            logger.warning("what executor %s left is not removed yet: %s", directory, one_line(exc))
    return count


def _entries(place: Path) -> list[Path]:
    with contextlib.suppress(OSError):
        return sorted(path for path in place.iterdir() if path.is_dir())
    return []


def _clear_up_after(
    directory: Path, workdir: Path, remove_containers: Callable[[str], int]
) -> None:
    containers = remove_containers(directory.name)
    entries = [path.name.partition("+") for path in directory.iterdir() if path.is_file()]
    # Without a name it would be the workdir itself.
    jobs = [(kind, workdir / name) for kind, _, name in entries if name]
    for kind, job in jobs:
        remove_private(job)
        if kind == _WHOLE and job.exists():
            remove_tree(job)
    remove_tree(directory)
    logger.info(
        "executor %s died here: removed %d containers, files of %d jobs",
        directory.name,
        containers,
        len(jobs),
    )


@contextmanager
def _deserted(directory: Path) -> Iterator[bool]:
    """Whether nobody living holds the entry, and it is this machine's; holds it meanwhile."""
    try:
        host = (directory / _HOST).read_text()
        lock = (directory / _LOCK).open("a")
    except OSError:
        yield False  # half made, or somebody else clears it up
        return
    with lock:
        yield host == socket.gethostname() and _locked(lock)


@contextmanager
def _door(workdir: Path) -> Iterator[None]:
    """One at a time enters or clears up: a half-made entry looks like a deserted one."""
    place = workdir / _PLACE
    place.mkdir(parents=True, exist_ok=True)
    # Opening for writing would fail for another user of a shared workdir.
    handle = os.open(place, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
