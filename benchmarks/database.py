"""A MongoDB for one benchmark run, and LaunchPads on it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fireworks import Firework, LaunchPad, PyTask, Workflow

from tests.services.mongodb import MongoServer


@dataclass(frozen=True)
class Bench:
    """A MongoDB server and a directory to work in."""

    host: str
    port: int
    directory: Path

    def launchpad(self, name: str) -> tuple[Any, Path]:
        """A fresh LaunchPad on the database `name`, and its my_launchpad.yaml."""
        launchpad = LaunchPad(self.host, self.port, name, strm_lvl="ERROR")
        launchpad.reset("", require_password=False, max_reset_wo_password=10**9)
        file = self.directory / f"{name}.yaml"
        file.write_text(f"host: {self.host}\nport: {self.port}\nname: {name}\nstrm_lvl: ERROR\n")
        return launchpad, file


@contextmanager
def bench() -> Iterator[Bench]:
    """A running MongoDB; ends with the block."""
    with tempfile.TemporaryDirectory(prefix="portfire-bench-") as path:
        server = MongoServer(Path(path) / "mongodb", owner=os.getpid())
        address = server.start()
        try:
            yield Bench(address.host, address.port, Path(path))
        finally:
            server.stop()


def bag(count: int) -> list[Any]:
    """`count` one-task workflows whose task does next to nothing."""
    return [
        Workflow([Firework([PyTask(func="time.time")], name=f"job {number}")])
        for number in range(count)
    ]
