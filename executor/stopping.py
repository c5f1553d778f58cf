"""How urgently an executor is to stop, and why; it may become more urgent, never less."""

from __future__ import annotations

import threading
from enum import IntEnum


class Urgency(IntEnum):
    """What becomes of the jobs that run when an executor stops."""

    #: They take the time that they need.
    WHEN_DONE = 0
    #: They have `grace_seconds` to finish, and the time that theirs takes to stop.
    SOFT = 1
    #: The machine goes in seconds: they are told to stop now, and have little time for it.
    PREEMPTED = 2
    #: They are killed.
    AT_ONCE = 3


class StopRequest:
    """The wish that an executor stop. Thread-safe; nothing here blocks."""

    def __init__(self) -> None:
        #: Set when the executor is to stop.
        self.wanted = threading.Event()
        self._lock = threading.Lock()  # guards the two below
        self._urgency = Urgency.WHEN_DONE
        self._reason = "asked to"

    @property
    def urgency(self) -> Urgency:
        """The most urgent wish so far."""
        return self._urgency

    @property
    def reason(self) -> str:
        """Why, for people: what was said first, or what made it more urgent."""
        return self._reason

    def ask(self, reason: str, urgency: Urgency) -> None:
        """Wish for a stop. One that is less urgent than that which goes on changes nothing."""
        with self._lock:
            first = not self.wanted.is_set()
            if first or urgency > self._urgency:
                # Whoever insists has no reason of his own.
                if first or urgency is not Urgency.AT_ONCE:
                    self._reason = reason
                self._urgency = urgency
            self.wanted.set()
