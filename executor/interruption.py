"""How SIGTERM becomes JobInterrupted in a slot's child process."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType

from messaging.errors import JobInterrupted

#: Seconds for a job to clear up once what it ran has ended.
CLEAN_UP_SECONDS = 5.0
#: Seconds from asking a job to stop until all its processes are killed: a program has 3 to end by
#: itself. A job with a container that may take longer says so.
KILL_AFTER_SECONDS = 3.0 + CLEAN_UP_SECONDS


class Interruption:
    """Raises JobInterrupted in the main thread, once per job, and never inside a masked section.

    A section is masked (``with interruption:``) while a record is read from or written to the pipe:
    half a record would break every later one. A signal that comes meanwhile is raised at the
    section's end. Outside a job the signal does nothing.

    Used from the child's main thread; in other threads masking does nothing, since Python runs
    signal handlers in the main thread only.
    """

    def __init__(self) -> None:
        #: Whether the job that runs, or ran last, was interrupted.
        self.happened = False
        self._armed = False
        self._masked = 0
        self._pending = False
        self._main = threading.get_ident()

    def install(self) -> None:
        """Take SIGTERM; ignore SIGINT, which a terminal sends to everybody."""
        signal.signal(signal.SIGTERM, self._on_signal)
        # Not SIG_IGN, which the programs of tasks would inherit.
        signal.signal(signal.SIGINT, lambda *_: None)
        # A SIGTERM that meets a process between its fork and `_release` waits for the latter:
        # Python forgets what its own handler takes in there.
        os.register_at_fork(before=_block, after_in_parent=_unblock, after_in_child=self._release)

    def arm(self) -> None:
        """A job begins."""
        self.happened = self._pending = False
        self._armed = True

    def disarm(self) -> None:
        """The job's outcome is settled: from now on it cannot be interrupted."""
        self._armed = self._pending = False

    def interrupt(self, reason: str) -> None:
        """Interrupt the job from inside; raises JobInterrupted."""
        self.happened = True
        raise JobInterrupted(reason)

    def __enter__(self) -> None:
        if threading.get_ident() == self._main:
            self._masked += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if threading.get_ident() != self._main:
            return
        self._masked -= 1
        if self._pending and not self._masked:
            self._pending = False
            raise JobInterrupted("the job was stopped")

    def _release(self) -> None:
        """In a process that a task has forked: its signals are its own. A worker of a
        multiprocessing Pool, for instance, must end by SIGTERM, or the Pool never does.
        """
        if signal.getsignal(signal.SIGTERM) == self._on_signal:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
        _unblock()

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:  # noqa: ARG002 - signal's signature
        if not self._armed or self.happened:
            return
        self.happened = True
        if self._masked:
            self._pending = True
            return
        raise JobInterrupted("the job was stopped")


def _block() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def _unblock() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
