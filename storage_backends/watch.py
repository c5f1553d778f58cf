"""How a transfer is watched and stopped from outside."""

from __future__ import annotations

import threading
import weakref

from storage_backends.errors import StorageTransientError


class TransferStoppedError(StorageTransientError):
    """Nobody wants this transfer any more: its job was stopped, or lost its lease."""


class Watch:
    """Counts the bytes of one transfer, and stops it. Thread-safe.

    Whoever moves bytes calls `moved` after each block; whoever waits (for a retry, for a process)
    waits with `pause`. Both raise TransferStoppedError once `stop` was called.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards _bytes and _followers
        self._bytes = 0
        self._stopped = threading.Event()
        self._whole: Watch | None = None
        self._followers: weakref.WeakSet[Watch] = weakref.WeakSet()

    def part(self) -> Watch:
        """A watch of a part of this transfer: its bytes count here too, and it stops with this one.

        Stopping the part leaves the whole alone.
        """
        part = self.follower()
        part._whole = self
        return part

    def follower(self) -> Watch:
        """A watch that stops with this one, for bytes that do not count here."""
        follower = Watch()
        with self._lock:
            self._followers.add(follower)
        if self._stopped.is_set():
            follower.stop()
        return follower

    @property
    def bytes(self) -> int:
        """Bytes moved so far."""
        return self._bytes

    def moved(self, count: int) -> None:
        """Say that `count` more bytes were moved."""
        self._count(count)
        self.check()

    def forget(self) -> None:
        """Take back what was counted here: an attempt has failed, and its bytes move again."""
        self._count(-self._bytes)

    def pause(self, seconds: float) -> None:
        """Wait `seconds`, or until stopped."""
        self._stopped.wait(seconds)
        self.check()

    def check(self) -> None:
        """Raise TransferStoppedError if the transfer shall stop."""
        if self._stopped.is_set():
            raise TransferStoppedError("the transfer was stopped")

    def stop(self) -> None:
        """Stop the transfer soon: at its next block or the end of its pause."""
        self._stopped.set()
        with self._lock:
            followers = list(self._followers)
        for follower in followers:
            follower.stop()

    def _count(self, count: int) -> None:
        with self._lock:
            self._bytes += count
        if self._whole is not None:
            self._whole._count(count)
