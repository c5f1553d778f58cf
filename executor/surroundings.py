"""What a job may change in its process, and how it is put back for the next one."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

#: FireWorks' names for the output of a launch (``rlaunch --local_redirect``).
STDOUT_FILE = "FW_job.out"
STDERR_FILE = "FW_job.error"
_RESTORED_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGALRM, signal.SIGCHLD, signal.SIGHUP)


class Surroundings:
    """The working directory, environment, import path, umask, signal handlers and standard streams
    of this process, as they are when this is made. Main thread only.
    """

    def __init__(self, mask: AbstractContextManager[None]) -> None:
        """Inside `mask` nothing interrupts: what is half restored would spoil the next job."""
        self._mask = mask
        self._environ = dict(os.environ)
        self._path = list(sys.path)
        self._umask = os.umask(0o022)
        os.umask(self._umask)
        self._handlers = {number: signal.getsignal(number) for number in _RESTORED_SIGNALS}
        self._streams = (sys.stdin, sys.stdout, sys.stderr)
        self._descriptors = {1: os.dup(1), 2: os.dup(2)}
        self._home = Path.cwd()

    @contextmanager
    def of_job(self, directory: str) -> Iterator[None]:
        """Run a job in `directory`, its standard output and error going to files there.

        Afterwards all is as it was, and of the files those are there that have something in them.
        """
        files = {1: f"{directory}/{STDOUT_FILE}", 2: f"{directory}/{STDERR_FILE}"}
        try:
            os.chdir(directory)
            for descriptor, file in files.items():
                _redirect(descriptor, file)
            yield
        finally:
            with self._mask:
                self._restore()
                _remove_empty(files.values())

    def _restore(self) -> None:
        sys.stdin, sys.stdout, sys.stderr = self._streams
        _flush()
        for descriptor, saved in self._descriptors.items():
            os.dup2(saved, descriptor)
        os.chdir(self._home)
        os.umask(self._umask)
        sys.path[:] = self._path
        if dict(os.environ) != self._environ:
            os.environ.clear()
            os.environ.update(self._environ)
        for number, handler in self._handlers.items():
            if signal.getsignal(number) is not handler:
                signal.signal(number, handler if handler is not None else signal.SIG_DFL)


def _redirect(descriptor: int, file: str) -> None:
    """Let a file descriptor write to `file`, for this process and the programs that it starts."""
    target = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(target, descriptor)
    os.close(target)


def _remove_empty(files: Iterable[str]) -> None:
    """A file that stays costs a job more than one that goes; most tasks print nothing."""
    for file in files:
        with contextlib.suppress(OSError):  # gone, with the directory perhaps
            if not os.stat(file).st_size:  # noqa: PTH116 - a path object costs more than this
                os.unlink(file)  # noqa: PTH108 - as above


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            # A job that closed or replaced its output has lost it; that is no failure.
            continue
