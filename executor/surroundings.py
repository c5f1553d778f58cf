"""What a job may change in its process, and how it is put back for the next one."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: FireWorks' names for the output of a launch (``rlaunch --local_redirect``).
STDOUT_FILE = "FW_job.out"
STDERR_FILE = "FW_job.error"
_RESTORED_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGALRM, signal.SIGCHLD, signal.SIGHUP)


@contextmanager
def job_surroundings(directory: Path) -> Iterator[None]:
    """Run a job in `directory`, its standard output and error going to files there.

    Afterwards the working directory, the environment, the import path, the umask, the signal
    handlers and the standard streams are as before. Main thread only.
    """
    environ = dict(os.environ)
    path = list(sys.path)
    umask = os.umask(0o022)
    os.umask(umask)
    handlers = {number: signal.getsignal(number) for number in _RESTORED_SIGNALS}
    streams = (sys.stdin, sys.stdout, sys.stderr)
    home = Path.cwd()
    try:
        os.chdir(directory)
        with _redirected(1, directory / STDOUT_FILE), _redirected(2, directory / STDERR_FILE):
            try:
                yield
            finally:
                sys.stdin, sys.stdout, sys.stderr = streams
                _flush()
    finally:
        os.chdir(home)
        os.umask(umask)
        sys.path[:] = path
        if dict(os.environ) != environ:
            os.environ.clear()
            os.environ.update(environ)
        for number, handler in handlers.items():
            if signal.getsignal(number) is not handler:
                signal.signal(number, handler if handler is not None else signal.SIG_DFL)


@contextmanager
def _redirected(descriptor: int, file: Path) -> Iterator[None]:
    """Let a file descriptor write to `file`, for this process and the programs that it starts."""
    saved = os.dup(descriptor)
    target = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(target, descriptor)
    os.close(target)
    try:
        yield
    finally:
        os.dup2(saved, descriptor)
        os.close(saved)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            # A job that closed or replaced its output has lost it; that is no failure.
            continue
