"""How many jobs an executor pulls: as many as slots are free, and more only of very short ones.

One pull for each job of a few milliseconds costs more than the job. So when jobs have proved to be
short, and there are plenty (each pull brings all that it asks for), the slots get in advance what
they will have done within `AHEAD_SECONDS`. A single long job ends that for a while.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

#: Seconds of work, by the last jobs' length, that may wait for the slots. No job waits behind a
#: busy executor for much longer (see `Intake`), should it be wrong.
AHEAD_SECONDS = 0.1
_MOST = 32
#: Seconds that jobs are taken to last until they have shown that they do not.
_FIRST_GUESS = 1.0
#: How much of the guess the next job leaves as it was; a longer one counts at once.
_MEMORY = 0.8
#: Seconds without fetching ahead after a job that came back from an executor, which it may have
#: killed: what is fetched with it would share its fate.
CAREFUL_SECONDS = 60.0


class Appetite:
    """What to ask for. `ran` is thread-safe; the other methods are for one thread."""

    def __init__(self, slots: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._slots = slots
        self._clock = clock
        self._lock = threading.Lock()  # guards the guess
        self._guess = _FIRST_GUESS
        self._ahead = 0
        self._careful_until = 0.0

    def ran(self, seconds: float) -> None:
        """A job occupied its slot for so long."""
        with self._lock:
            self._guess = max(seconds, _MEMORY * self._guess + (1 - _MEMORY) * seconds)

    def wants(self, free: int) -> int:
        """How many messages to pull for `free` slots."""
        limit = min(_MOST, int(self._slots * AHEAD_SECONDS / max(self._guess, 1e-6)))
        if self._clock() < self._careful_until:
            limit = 0
        self._ahead = min(self._ahead, limit)
        return free + self._ahead

    def got(self, asked: int, received: int) -> None:
        """What such a pull brought: with all that it asked for, the next may ask for more."""
        self._ahead = max(1, 2 * self._ahead) if received >= asked else 0

    def beware(self) -> None:
        """A job has come back."""
        self._careful_until = self._clock() + CAREFUL_SECONDS
