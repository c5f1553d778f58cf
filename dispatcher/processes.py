"""Processes of this machine: whether one that left its number somewhere still lives."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

#: The start of one process, asked for twice, may differ by so much when the clock is set.
_SAME_START_SECONDS = 1.5


def this_process() -> dict[str, Any]:
    """Where and which this process is, as `is_gone` understands it."""
    return {
        "host": socket.gethostname(),
        "machine": _machine(),
        "pid": os.getpid(),
        "started": psutil.Process().create_time(),
    }


def is_gone(process: Mapping[str, Any], here: Mapping[str, Any]) -> bool:
    """Whether a process is of this machine (`here` is `this_process()`), and dead for certain.

    Its number may be another one's by now.
    """
    same = ("host", "machine")
    if [process.get(key) for key in same] != [here[key] for key in same]:
        return False
    try:
        found = psutil.Process(int(process["pid"]))
        is_another = abs(found.create_time() - float(process["started"])) > _SAME_START_SECONDS
        return is_another or bool(found.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        return False


def _machine() -> str:
    """Where process ids mean the same: this boot of this machine, and this container."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return f"{psutil.boot_time():.0f}"
