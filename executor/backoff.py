"""The backoff: what is to be done again, but not at once."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)


class Backoff:
    """One thread that calls each action when it is due.

    Thread-safe; only `stop` blocks, and no action may. Actions that are due run in the thread, or,
    when there is nothing to wait for, in that of the caller.
    """

    def __init__(self, on_death: Callable[[str], None]) -> None:
        """`on_death` is told if the thread ends by an error of ours."""
        self._on_death = on_death
        #: Guards what follows; notified when there is something new to wait for, or nothing more.
        self._changed = threading.Condition()
        #: By monotonic time; the number keeps actions from being compared.
        self._waiting: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._hurried = False
        self._thread = threading.Thread(target=self._run, name="backoff", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Call `action` in so many seconds."""
        with self._changed:
            if seconds > 0 and not self._hurried:
                due = time.monotonic() + seconds
                heapq.heappush(self._waiting, (due, next(self._numbers), action))
                self._changed.notify()
                return
        action()

    def hurry(self) -> None:
        """From now on nothing waits, nor does what waits already. Idempotent."""
        with self._changed:
            self._hurried = True
            self._changed.notify()

    def stop(self, timeout: float = 5.0) -> None:
        """Hurry, and wait for the thread's end, for `timeout` seconds at most."""
        self.hurry()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _run(self) -> None:
        try:
            while (action := self._next()) is not None:
                action()
        except Exception:
            log.exception("the backoff died")
            self._on_death("the backoff died")

    def _next(self) -> Callable[[], None] | None:
        """Wait for the next action that is due; None when there will be no more."""
        with self._changed:
            while True:
                wait = self._waiting[0][0] - time.monotonic() if self._waiting else None
                if self._hurried or (wait is not None and wait <= 0):
                    return heapq.heappop(self._waiting)[2] if self._waiting else None
                self._changed.wait(wait)
