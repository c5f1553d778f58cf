"""CPU seconds of the parts of a running installation."""

from __future__ import annotations

import psutil


def cpu_seconds(pids: dict[str, int]) -> dict[str, float]:
    """User and system time by process; ``slots`` are the executor's children with theirs."""
    seconds = {name: _own(psutil.Process(pid)) for name, pid in pids.items()}
    executor = psutil.Process(pids["executor"])
    # Those that ended are counted by whoever waited for them.
    times = executor.cpu_times()
    seconds["slots"] = float(times.children_user + times.children_system)
    seconds["slots"] += sum(map(_with_reaped, executor.children(recursive=True)))
    return seconds


def _own(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _with_reaped(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)
