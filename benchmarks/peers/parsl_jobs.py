"""Parsl's HighThroughputExecutor, its workers on this machine."""

from __future__ import annotations

import tempfile
from typing import Any

import parsl
from parsl.config import Config
from parsl.executors import HighThroughputExecutor
from parsl.providers import LocalProvider

from benchmarks.peers.timing import Timing, job, report, timed, workers
from benchmarks.shapes import Graph

_LOOPBACK = "127.0.0.1"


def measure(_shape: str, graph: Graph) -> Timing:
    """Run the jobs, each as an app whose inputs are its parents' futures."""
    executor = HighThroughputExecutor(
        address=_LOOPBACK,
        max_workers_per_node=workers(),
        provider=LocalProvider(init_blocks=1, max_blocks=1),
    )
    with (
        tempfile.TemporaryDirectory(prefix="portfire-bench-parsl-") as directory,
        parsl.load(Config(executors=[executor], run_dir=directory)),
    ):
        app = parsl.python_app(job)
        for future in [app() for _ in range(10 * workers())]:
            future.result()
        return timed(lambda: _run(app, graph))


def _run(app: Any, graph: Graph) -> list[float]:
    futures: list[Any] = []
    for parents in graph:
        futures.append(app(*(futures[parent] for parent in parents)))
    return [future.result() for future in futures]


if __name__ == "__main__":
    report(measure)
