"""A program and all that it started, as one thing that can be measured and ended."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
import uuid
from collections.abc import Iterable

import psutil

from executor.usage import Usage, descendants, usage_of

#: Environment variable by which processes that left the tree are still known as the program's.
MARK = "PORTFIRE_PROGRAM"
_PR_SET_CHILD_SUBREAPER = 36
_POLL = 0.02


class ProcessTree:
    """The processes of one program: its descendants, and whoever else bears its mark.

    This process becomes the parent of the program's orphans (a "subreaper"), so that a double fork
    or ``setsid`` escapes nobody; only an orphan that also wiped its environment before it was ever
    seen here does. Not thread-safe; several trees may exist in one process at a time.
    """

    def __init__(self) -> None:
        #: Value of `MARK` in the program's environment.
        self.mark = uuid.uuid4().hex
        self._root: psutil.Process | None = None
        self._seen: dict[int, psutil.Process] = {}
        adopt_orphans()

    def began(self, pid: int) -> None:
        """The program runs as `pid`, a child of this process that its starter reaps."""
        with contextlib.suppress(psutil.Error):
            self._root = self._seen[pid] = psutil.Process(pid)

    def usage(self) -> Usage:
        """What all its processes use and have used, zombies included. Never raises."""
        for pid in descendants(os.getpid()):
            if pid not in self._seen:
                with contextlib.suppress(psutil.Error):
                    self._note(psutil.Process(pid))
        return usage_of(pid for pid, process in self._seen.items() if _is_it(process))

    def end(self, grace: float) -> None:
        """End all: SIGTERM, at most `grace` seconds of patience, SIGKILL. No error if none runs.

        Leaves the program itself to be reaped by its starter.
        """
        _signal(self._living(), signal.SIGTERM)
        if not self._gone_within(grace):
            # Those born meanwhile too; killed until none is left, for a fork may race the kill.
            deadline = time.monotonic() + grace
            while (living := self._living()) and time.monotonic() < deadline:
                _signal(living, signal.SIGKILL)
                time.sleep(_POLL)
        self._reap_orphans()

    def _gone_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self._living():
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL)
        return True

    def _living(self) -> list[psutil.Process]:
        for process in psutil.Process().children(recursive=True):  # parents come before children
            self._note(process)
        return [process for process in self._seen.values() if _is_alive(process)]

    def _note(self, process: psutil.Process) -> None:
        if process.pid not in self._seen and self._is_ours(process):
            self._seen[process.pid] = process

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return process.ppid() in self._seen or process.environ().get(MARK) == self.mark
        except psutil.Error:
            return False

    def _reap_orphans(self) -> None:
        for process in self._seen.values():
            if process != self._root:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(process.pid, os.WNOHANG)


def _is_it(process: psutil.Process) -> bool:
    """Whether the pid is still the same process's."""
    try:
        return process.is_running()
    except psutil.Error:
        return False


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _signal(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(psutil.Error):  # psutil checks that the pid is still the same
            process.send_signal(number)


def adopt_orphans() -> None:
    """Let what is left behind below this process stay below it.

    Linux only; elsewhere orphans go to init and are missed.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
