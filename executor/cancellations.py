"""Which jobs were cancelled before this executor got them."""

from __future__ import annotations

import threading
from collections import OrderedDict

from messaging.wire import Cancel, LaunchJob

#: How many are remembered; far more than are cancelled while they wait.
_REMEMBERED = 10_000


class Cancellations:
    """Remembers cancelled launches, whose message may still wait in Pub/Sub. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards the cancels
        self._cancels: OrderedDict[str, Cancel] = OrderedDict()

    def add(self, cancel: Cancel) -> None:
        """Remember; the oldest is forgotten when there are too many."""
        with self._lock:
            self._cancels[cancel.job] = cancel
            self._cancels.move_to_end(cancel.job)
            if len(self._cancels) > _REMEMBERED:
                self._cancels.popitem(last=False)

    def reason(self, job: LaunchJob) -> str | None:
        """Why this attempt of the launch was cancelled; None when it was not."""
        with self._lock:
            cancel = self._cancels.get(job.job)
        return cancel.reason if cancel is not None and job.attempt <= cancel.attempt else None
