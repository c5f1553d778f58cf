"""The daemons as processes, for benchmarks."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.database import Bench
from benchmarks.files import ROOT

PORTFIRE = (str(Path(sys.executable).parent / "portfire"),)


@contextlib.contextmanager
def daemons(
    place: Bench,
    launchpad_file: Path,
    threads: int,
    broker: Sequence[str] = (*PORTFIRE, "broker", "--port", "0"),
    names: Sequence[str] = ("dispatcher", "executor"),
    settings: Mapping[str, str] | None = None,
) -> Iterator[dict[str, int]]:
    """The broker and the daemons `names`; their process ids by name. Ends them all.

    `broker` is the command of the broker; it prints what `portfire broker` prints. `settings` are
    further environment variables of the daemons.
    """
    with contextlib.ExitStack() as stack:
        serving = subprocess.Popen(broker, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        stack.callback(_end, serving)
        assert serving.stdout is not None
        address = serving.stdout.readline().strip().split("=", 1)[1]
        environment = {
            **os.environ,
            "PUBSUB_EMULATOR_HOST": address,
            "THREADS": str(threads),
            "PORTFIRE_WORKDIR": str(place.directory / "work"),
            **(settings or {}),
        }
        pids = {"broker": serving.pid}
        arguments = {"dispatcher": ["-l", str(launchpad_file)], "executor": []}
        for name in names:
            log = stack.enter_context((place.directory / f"{name}.log").open("a"))
            process = subprocess.Popen(
                [*PORTFIRE, name, *arguments[name]], env=environment, stdout=log, stderr=log
            )
            stack.callback(_end, process)
            pids[name] = process.pid
        yield pids


def _end(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(60)
