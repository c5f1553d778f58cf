"""Watches the tasks that run in this process, and what they start; short ones pay hardly anything.

One thread serves all tasks of the process, one after the other. It looks at a task every 2 seconds,
first 2 seconds after the task began, and sleeps when there are none. A task that begins only leaves
its name where the thread will look.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Any

from executor.context import current_context
from executor.tally import INTERVAL, Tally
from executor.usage import Usage, descendants, own_usage, usage_of

log = logging.getLogger(__name__)

#: Given the fields of a ``job.execution.sample``; callable from any thread, never raises.
TellSample = Callable[[dict[str, Any]], None]
#: Looks in vain after which the thread sleeps until it is woken.
_PATIENCE = 3


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
        #: When it is looked at next, by `time.monotonic`.
        self.due = time.monotonic() + INTERVAL
        _watcher.watch(self)

    def end(self) -> dict[str, Any]:
        """The metrics of the task, which has ended."""
        _watcher.let_go(self)
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


class _Watcher:
    """The thread, started by the first task. Tasks come from one thread at a time."""

    def __init__(self) -> None:
        self._watched: TaskProbe | None = None
        self._looking = threading.Lock()  # held while a task is looked at
        self._wake = threading.Event()
        self._asleep = False
        self._thread: threading.Thread | None = None

    def watch(self, probe: TaskProbe) -> None:
        self._watched = probe
        if self._asleep:
            self._wake.set()
        # Nor does it live on in a process that was forked from this one.
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="probe", daemon=True)
            self._thread.start()

    def let_go(self, probe: TaskProbe) -> None:
        """It has ended; also not looked at any more."""
        with self._looking:
            if self._watched is probe:
                self._watched = None

    def _run(self) -> None:
        misses = 0
        while True:
            probe = self._watched
            if probe is None:
                misses += 1
                self._pause(misses)
                continue
            misses = 0
            delay = probe.due - time.monotonic()
            if delay > 0:
                time.sleep(delay)
            else:
                self._look(probe)

    def _pause(self, misses: int) -> None:
        if misses < _PATIENCE:
            time.sleep(INTERVAL)
            return
        self._asleep = True
        # A task that came just before saw it awake.
        if self._watched is None:
            self._wake.wait()
        self._asleep = False
        self._wake.clear()

    def _look(self, probe: TaskProbe) -> None:
        with self._looking:
            if self._watched is not probe:
                return
            try:
                probe.look()
            except Exception:
                # No figure is worth a job, nor the later figures.
                log.debug("a look at the task failed", exc_info=True)


_watcher = _Watcher()


def _together(own: Usage, others: Usage, peak: int) -> Usage:
    counted = {name: count + others.bytes.get(name, 0) for name, count in own.bytes.items()}
    return Usage(own.cpu_seconds + others.cpu_seconds, peak, counted)
