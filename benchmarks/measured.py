"""One movement in a process of its own, so that its memory and CPU time are its own.

python -m benchmarks.measured '{"contender": "requests", "ready": [URL], "call": "fetch", ...}'
"""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.contenders import CONTENDERS
from benchmarks.files import ROOT


@dataclass(frozen=True, slots=True)
class Cost:
    """What one movement took."""

    #: Wall-clock time.
    seconds: float
    #: CPU seconds of the process and those it waited for, user and system.
    cpu: float
    #: Peak resident bytes above those at its start; children are not counted.
    memory: float


def measure(contender: str, ready: list[str], call: str, *arguments: str) -> Cost:
    """Run one movement in a process of its own. Raises CalledProcessError."""
    order = {"contender": contender, "ready": ready, "call": call, "arguments": arguments}
    command = [sys.executable, "-m", "benchmarks.measured", json.dumps(order)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=600, cwd=ROOT)
    return Cost(**json.loads(done.stdout))


def main() -> None:
    """Do what the argument orders, and print its cost."""
    order: dict[str, Any] = json.loads(sys.argv[1])
    contender = CONTENDERS[order["contender"]](*order["ready"])
    first, second = order["arguments"]
    if order["call"] == "fetch":
        print(json.dumps(asdict(cost_of(lambda: contender.fetch(first, Path(second))))))
    else:
        print(json.dumps(asdict(cost_of(lambda: contender.store(Path(first), second)))))


def cost_of(movement: Callable[[], Any]) -> Cost:
    """Call it, and tell what that took; the memory is right once per process."""
    # From here on the peak is this movement's alone.
    Path("/proc/self/clear_refs").write_text("5")
    resident, cpu, began = psutil.Process().memory_info().rss, _cpu(), time.perf_counter()
    movement()
    seconds = time.perf_counter() - began
    return Cost(seconds, _cpu() - cpu, _peak() - resident)


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _peak() -> int:
    found = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) << 10


if __name__ == "__main__":
    main()
