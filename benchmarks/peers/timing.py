"""What a peer's program tells of one run, and how it is told."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

from benchmarks.shapes import SHAPES, Graph, graph


@dataclass(frozen=True)
class Timing:
    """One run of jobs on workers that were there already; all in seconds.

    `steady` is from the start of the first job to the moment at which the client has every result,
    `warm` the same from the first submission.
    """

    steady: float
    warm: float


def timed(run: Callable[[], Iterable[float]]) -> Timing:
    """Time `run`, which submits all jobs and returns when each one started, by `time.time`."""
    began = time.time()
    starts = list(run())
    ended = time.time()
    return Timing(steady=ended - min(starts), warm=ended - began)


def report(measure: Callable[[str, Graph], Timing]) -> None:
    """The `main` of a peer's program."""
    parser = argparse.ArgumentParser()
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("jobs", type=int)
    args = parser.parse_args()
    timing = measure(args.shape, graph(args.shape, args.jobs))
    # Its last line, whatever the system prints at its end.
    print(json.dumps(asdict(timing)), flush=True)


def job(*_parents: object) -> float:
    """The no-op job: when it ran, by `time.time`."""
    return time.time()


def workers() -> int:
    """How many workers a peer has: as many as Portfire has slots."""
    return int(os.environ.get("BENCHMARK_WORKERS", "2"))
