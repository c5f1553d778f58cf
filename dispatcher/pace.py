"""How often the LaunchPad is asked for READY Fireworks: often after work, seldom when idle."""

from __future__ import annotations

import threading

#: So many seconds after the last work it is still asked as often as then.
BUSY_SECONDS = 30.0
#: Idle, in seconds: without and with a change stream that tells of what becomes READY.
IDLE_SECONDS = 0.35
_WATCHED_SECONDS = 5.0
#: Idle for so many seconds, a change stream is worth having: it also tells of what we do ourselves.
_WATCH_AFTER_SECONDS = 1.0
#: The longest wait: other things are to be looked after as well.
_LONGEST_SECONDS = 1.0


class Pace:
    """When to ask next. For one thread, but for what the watch sets. Times are monotonic."""

    def __init__(self, busy_poll: float, idle_poll: float = IDLE_SECONDS) -> None:
        """Intervals of asking after work and when idle, in seconds."""
        self._busy_poll = busy_poll
        self._idle_poll = max(busy_poll, idle_poll)
        self._last_work = 0.0
        self._next = 0.0
        #: Whether a change stream is wanted; set here, for the watch to see.
        self.wants_watch = threading.Event()
        #: Whether one is open; set by the watch.
        self.is_watched = threading.Event()

    def worked(self, now: float) -> None:
        """Something was applied, claimed or published: more is likely."""
        self._last_work = self._next = now
        self.wants_watch.clear()

    def is_due(self, now: float, *, woken: bool) -> bool:
        """Whether to ask now; `woken`: something has become READY."""
        if now - self._last_work > _WATCH_AFTER_SECONDS:
            self.wants_watch.set()
        if not woken and now < self._next:
            return False
        # Woken by what was half written, perhaps: FireWorks adds Fireworks before their workflow.
        self._next = now + (self._busy_poll if woken else self._interval(now))
        return True

    def wait_seconds(self, now: float) -> float:
        """How long to wait for messages before the next turn."""
        return min(max(self._next - now, 0.001), _LONGEST_SECONDS)

    def _interval(self, now: float) -> float:
        if self.is_watched.is_set() and self.wants_watch.is_set():
            return _WATCHED_SECONDS
        return self._busy_poll if now - self._last_work < BUSY_SECONDS else self._idle_poll
