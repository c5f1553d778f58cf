"""What the dispatcher last said of the executor's pool."""

from __future__ import annotations

import time

from messaging.wire import PoolState

#: Seconds after which its word is old: it speaks every 30, if it is there.
STALE_SECONDS = 120.0


class PoolNews:
    """The newest `PoolState` of one pool. Thread-safe."""

    def __init__(self, pool: str) -> None:
        self._pool = pool
        #: Both at once: the state, and the monotonic time at which it was heard.
        self._heard: tuple[PoolState, float] | None = None

    def hear(self, state: PoolState) -> None:
        """The dispatcher of some pool said this."""
        if state.pool == self._pool:
            self._heard = state, time.monotonic()

    def newest(self) -> PoolState | None:
        """What is still worth believing; None when nothing is."""
        if self._heard is None:
            return None
        state, heard = self._heard
        return state if time.monotonic() - heard < STALE_SECONDS else None
