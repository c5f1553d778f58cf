"""One thread that looks at what runs in this process when it is time to; short tasks pay hardly
anything for it.

What begins only leaves its name where the thread will look, which it does every 2 seconds, and
sleeps when there is nothing.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Protocol

log = logging.getLogger(__name__)

#: Seconds after which the thread has seen what is new.
INTERVAL = 2.0
#: Looks in vain after which the thread sleeps until it is woken.
_PATIENCE = 3


class Watched(Protocol):
    """What is looked at now and then."""

    #: When it is looked at next, by `time.monotonic`; `look` sets it anew.
    due: float

    def look(self) -> None:
        """Called by the watching thread."""


class Watcher:
    """The thread, started by the first that is watched. `watch` and `let_go` are for one thread."""

    def __init__(self) -> None:
        #: Replaced, never changed: the thread reads it without a lock.
        self._watched: tuple[Watched, ...] = ()
        self._looking = threading.Lock()  # held while something is looked at
        self._wake = threading.Event()
        self._asleep = False
        self._thread: threading.Thread | None = None

    def watch(self, item: Watched) -> None:
        """Look at it when it is due, but not before the thread has seen it."""
        self._watched = (*self._watched, item)
        if self._asleep:
            self._wake.set()
        # Nor does it live on in a process that was forked from this one.
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)
            self._thread.start()

    def let_go(self, item: Watched) -> None:
        """It is over; when this returns, nobody looks at it any more. Idempotent."""
        with self._looking:
            self._watched = tuple(other for other in self._watched if other is not item)

    def _run(self) -> None:
        misses = 0
        while True:
            watched = self._watched
            if not watched:
                misses += 1
                self._pause(misses)
                continue
            misses = 0
            delay = min(item.due for item in watched) - time.monotonic()
            if delay > 0:
                time.sleep(min(delay, INTERVAL))
            for item in watched:
                self._look(item)

    def _pause(self, misses: int) -> None:
        if misses < _PATIENCE:
            time.sleep(INTERVAL)
            return
        self._asleep = True
        # What came just before saw it awake.
        if not self._watched:
            self._wake.wait()
        self._asleep = False
        self._wake.clear()

    def _look(self, item: Watched) -> None:
        with self._looking:
            if item not in self._watched or item.due > time.monotonic():
                return
            try:
                item.look()
            except Exception:
                # Nothing that is seen is worth a job, nor what is seen later.
                log.debug("a look at a task failed", exc_info=True)


#: The one of this process.
watcher = Watcher()
