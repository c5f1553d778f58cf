"""How many jobs may be in flight: enough for the slots, and for a second of short jobs."""

from __future__ import annotations

import math
import time
from collections import deque

#: Without any word of an executor, and beside what its slots need.
_LEAST = 64
_PER_SLOT = 4
#: Seconds of work, at the rate of the last results, that may wait.
_AHEAD_SECONDS = 1.5
_MEASURED_SECONDS = 3.0
#: However fast they end, no more than this wait for the rate's sake.
_MOST_FOR_RATE = 1000


class Window:
    """The pool's limit, and one dispatcher's share of it. Not thread-safe."""

    def __init__(self, fixed: int | None) -> None:
        """`fixed`: the limit that the user chose."""
        self._fixed = fixed
        #: Monotonic times at which results were applied, and how many.
        self._ends: deque[tuple[float, int]] = deque()

    def ended(self, count: int) -> None:
        """So many jobs have ended just now."""
        if count:
            self._ends.append((time.monotonic(), count))

    def share(self, slots: int, members: int) -> int:
        """How many jobs this dispatcher may have in flight, of `members` for so many slots."""
        if self._fixed is not None:
            return math.ceil(self._fixed / max(members, 1))
        limit = _LEAST + _PER_SLOT * slots
        return max(math.ceil(limit / max(members, 1)), min(self._for_rate(), _MOST_FOR_RATE))

    def _for_rate(self) -> int:
        oldest = time.monotonic() - _MEASURED_SECONDS
        while self._ends and self._ends[0][0] < oldest:
            self._ends.popleft()
        rate = sum(count for _, count in self._ends) / _MEASURED_SECONDS
        return math.ceil(rate * _AHEAD_SECONDS)
