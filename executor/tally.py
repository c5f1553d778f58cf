"""From readings of what an execution uses to its summary; the same for programs and containers."""

from __future__ import annotations

import time
from typing import Any

from executor.usage import Usage

#: Seconds between samples; what ends sooner has no mean and no peak of processors.
INTERVAL = 2.0
#: Seconds over which the use of processors is measured, at least: the kernel counts it in 10 ms.
_WINDOW = 1.0


class Tally:
    """Adds up one execution. For one thread at a time."""

    def __init__(self, before: Usage | None = None) -> None:
        """It begins now; `before` is what the same counters had then."""
        self._before = before or Usage()
        self._began = self._at = time.monotonic()
        self._cpu_seconds = 0.0
        self._bytes: dict[str, int] = {}
        self._memory = 0
        self._memory_peak = 0
        #: Bytes times seconds.
        self._memory_area = 0.0
        #: Where the present window began: time, and CPU seconds until then.
        self._window = (self._began, 0.0)
        self._cpu: float | None = None
        self._cpu_peak = 0.0
        self._told = self._began

    def add(self, usage: Usage) -> dict[str, Any] | None:
        """Take a reading of now; a sample's fields when one is due (every `INTERVAL` seconds)."""
        now = time.monotonic()
        self.count(usage)
        self._memory = usage.memory
        self._memory_peak = max(self._memory_peak, usage.memory)
        self._memory_area += usage.memory * (now - self._at)
        self._at = now
        self._measure_cpu(now)
        # A little before its time is better than a whole interval later.
        if now - self._told < 0.9 * INTERVAL:
            return None
        self._told = now
        return self._sample(now)

    def end(self, usage: Usage | None = None) -> dict[str, Any]:
        """The summary: the metrics of ``job.execution.finished``, without its seconds.

        `usage` is the last word of the same counters, its memory a peak if that is known.
        """
        seconds = time.monotonic() - self._began
        if usage is not None:
            self.count(usage)
            self._memory_peak = max(self._memory_peak, usage.memory)
        metrics: dict[str, Any] = {"cpu_seconds": round(self._cpu_seconds, 6)}
        if self._memory_peak:
            metrics["memory"] = self._memory_peak
        sampled = self._at - self._began
        if sampled >= 0.9 * INTERVAL:
            mean = self._cpu_seconds / seconds
            metrics["cpu_mean"] = round(mean, 3)
            metrics["cpu_peak"] = round(max(mean, self._cpu_peak), 3)
            metrics["memory_mean"] = round(self._memory_area / sampled)
        return {**metrics, **self._bytes}

    def count(self, usage: Usage) -> None:
        """Take what a reading counts, but not its memory, nor as a sample."""
        # Of a process that ended unseen the counters are gone: never less than was seen.
        self._cpu_seconds = max(self._cpu_seconds, usage.cpu_seconds - self._before.cpu_seconds)
        for name, count in usage.bytes.items():
            used = count - self._before.bytes.get(name, 0)
            self._bytes[name] = max(self._bytes.get(name, 0), used)

    def _measure_cpu(self, now: float) -> None:
        began, spent = self._window
        if now - began >= _WINDOW:
            self._cpu = (self._cpu_seconds - spent) / (now - began)
            self._cpu_peak = max(self._cpu_peak, self._cpu)
            self._window = (now, self._cpu_seconds)

    def _sample(self, now: float) -> dict[str, Any]:
        sample: dict[str, Any] = {
            "time": round(now - self._began, 3),
            "cpu_seconds": round(self._cpu_seconds, 3),
            "memory": self._memory,
        }
        if self._cpu is not None:
            sample["cpu"] = round(self._cpu, 3)
        return {**sample, **self._bytes}
