"""Signals as calls: the first asks to stop, the second insists."""

from __future__ import annotations

import queue
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_NUMBERS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def on_stop(first: Callable[[], None], second: Callable[[], None] | None = None) -> Iterator[None]:
    """Within the block SIGTERM and SIGINT call `first`, and from the second time on `second`.

    The calls come from a thread of their own and may block; the handlers that were there before are
    restored at the end. Main thread only.
    """
    # A SimpleQueue may be put to from a signal handler; an Event may not: its lock may be held.
    signals: queue.SimpleQueue[int] = queue.SimpleQueue()

    def hear(number: int, _frame: FrameType | None) -> None:
        signals.put(number)

    def obey() -> None:
        call = first
        while signals.get():
            threading.Thread(target=call, name="on-signal", daemon=True).start()
            call = second or first

    previous = {number: signal.signal(number, hear) for number in _NUMBERS}
    threading.Thread(target=obey, name="signals", daemon=True).start()
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        signals.put(0)
