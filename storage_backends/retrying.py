"""Trying again what failed for a passing reason."""

from __future__ import annotations

import logging
import random
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from messaging.errors import UsageError
from storage_backends.errors import (
    StorageChangedError,
    StorageCorruptError,
    StorageError,
    StorageFullError,
    StorageTransientError,
)
from storage_backends.watch import TransferStoppedError, Watch

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds after which a request is not tried again.
DEADLINE = 120.0


@dataclass(frozen=True, slots=True)
class Retry:
    """When to try again: after a transient error, or bytes that arrived wrong. Immutable.

    Waits `first` seconds, then twice as long each time up to `longest`, each time a random part
    from a half of that; gives up, with the last error, when the next wait would end after
    `deadline` seconds, or when bytes arrived wrong `corrupt` times.
    """

    first: float = 0.5
    longest: float = 20.0
    deadline: float = DEADLINE
    corrupt: int = 4

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Retry:
        """As a backend's options say: ``retry_seconds`` is the deadline. Raises UsageError."""
        seconds = options.get("retry_seconds", DEADLINE)
        number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
        # Neither nan, nor infinity, nor an integer that is no float.
        if not number or not 0 <= seconds <= sys.float_info.max:
            raise UsageError(f"storage option retry_seconds {seconds!r}: expected seconds, from 0")
        return cls(deadline=float(seconds))

    def call(self, attempt: Callable[[Watch], T], watch: Watch) -> T:
        """What `attempt` returns, at last. Raises what `attempt` raises, and TransferStoppedError.

        `attempt` is given the watch to tell its bytes, and must leave nothing behind when it fails.
        A StorageChangedError is not tried again: it is another object now. Nor is a full disk.
        """
        end = time.monotonic() + self.deadline
        wait = self.first
        corrupt = 0
        while True:
            part = watch.part()
            try:
                return attempt(part)
            except StorageError as exc:
                part.forget()
                corrupt += isinstance(exc, StorageCorruptError)
                pause = wait * random.uniform(0.5, 1.0)
                too_late = corrupt >= self.corrupt or time.monotonic() + pause > end
                if too_late or not _may_pass(exc):
                    raise
                log.info("trying again in %.1f s: %s", pause, exc)
            watch.pause(pause)
            wait = min(2 * wait, self.longest)


def _may_pass(exc: StorageError) -> bool:
    if isinstance(exc, TransferStoppedError | StorageChangedError | StorageFullError):
        return False
    return isinstance(exc, StorageTransientError | StorageCorruptError)
