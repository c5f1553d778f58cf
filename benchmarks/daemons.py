"""The daemons as processes, for benchmarks."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.database import Bench


@contextlib.contextmanager
def daemons(place: Bench, launchpad_file: Path, threads: int) -> Iterator[dict[str, int]]:
    """Broker, dispatcher and executor; their process ids by name. Ends them all."""
    portfire = str(Path(sys.executable).parent / "portfire")
    with contextlib.ExitStack() as stack:
        broker = subprocess.Popen(
            [portfire, "broker", "--port", "0"], stdout=subprocess.PIPE, text=True
        )
        stack.callback(_end, broker)
        assert broker.stdout is not None
        address = broker.stdout.readline().strip().split("=", 1)[1]
        environment = {
            **os.environ,
            "PUBSUB_EMULATOR_HOST": address,
            "THREADS": str(threads),
            "PORTFIRE_WORKDIR": str(place.directory / "work"),
        }
        pids = {"broker": broker.pid}
        for name, arguments in (
            ("dispatcher", ["-l", str(launchpad_file)]),
            ("executor", []),
        ):
            process = subprocess.Popen([portfire, name, *arguments], env=environment)
            stack.callback(_end, process)
            pids[name] = process.pid
        yield pids


def _end(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(60)
