"""What the tasks that run in this process use, with what they start: looked at every 2 seconds,
first 2 seconds after a task began.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from executor.context import current_context
from executor.tally import INTERVAL, Tally
from executor.usage import Usage, descendants, own_usage, usage_of
from executor.watcher import watcher

#: Given the fields of a ``job.execution.sample``; callable from any thread, never raises.
TellSample = Callable[[dict[str, Any]], None]


def sample_teller() -> TellSample | None:
    """Where the samples of the current job go; None when nobody wants them."""
    context = current_context()
    if not context.samples:
        return None
    return lambda sample: context.emit("job.execution.sample", **sample)


class TaskProbe:
    """What one task uses in this process and below it. Starts with its constructor."""

    def __init__(self) -> None:
        self._before = own_usage()
        self._tally = Tally(self._before)
        self._tell = sample_teller()
        self._seen = False
        self.due = time.monotonic() + INTERVAL
        watcher.watch(self)

    def end(self) -> dict[str, Any]:
        """The metrics of the task, which has ended."""
        watcher.let_go(self)
        own = own_usage()
        # The peak is the process's so far: this task's only if it went up.
        peak = own.memory if own.memory > self._before.memory else 0
        # A short one pays for no search for what it may have left running.
        left = usage_of(descendants(os.getpid())) if self._seen else Usage()
        return self._tally.end(_together(own, left, peak))

    def look(self) -> None:
        """Take a sample. Called by the watching thread."""
        self.due, self._seen = time.monotonic() + INTERVAL, True
        pid = os.getpid()
        sample = self._tally.add(usage_of([pid, *descendants(pid)]))
        if sample is not None and self._tell is not None:
            self._tell(sample)


def _together(own: Usage, others: Usage, peak: int) -> Usage:
    counted = {name: count + others.bytes.get(name, 0) for name, count in own.bytes.items()}
    return Usage(own.cpu_seconds + others.cpu_seconds, peak, counted)
