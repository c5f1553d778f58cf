"""Celery with Redis as broker and for results, late acks, prefork workers on this machine."""

from __future__ import annotations

import contextlib
import importlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import redis
from celery import chain, group

from benchmarks.files import ROOT
from benchmarks.peers.timing import Timing, report, timed, workers
from benchmarks.shapes import Graph
from tests.services.mongodb import free_port
from tests.waiting import wait_until


def measure(shape: str, graph: Graph) -> Timing:
    """Run the jobs as a group, a chain or a chord; its canvas has no layers of three parents."""
    if shape == "layers":
        raise SystemExit("Celery's canvas cannot say layers")
    with tempfile.TemporaryDirectory(prefix="portfire-bench-celery-") as directory:
        port = free_port()
        os.environ["CELERY_REDIS"] = f"redis://127.0.0.1:{port}/0"
        # Now, not above: at its import it reads where Redis is.
        app = importlib.import_module("benchmarks.peers.celery_app")
        with _redis(port, directory), _worker(directory):
            wait_until(lambda: app.app.control.ping(timeout=1), timeout=60, what="Celery's worker")
            group(app.celery_job.si() for _ in range(10 * workers())).apply_async().get(60)
            return timed(lambda: _run(app.celery_job, shape, len(graph)))


def _run(job: Any, shape: str, jobs: int) -> list[float]:
    if shape == "bag":
        return list(group(job.si() for _ in range(jobs)).apply_async().get())
    if shape == "fan":
        middle = group(job.si() for _ in range(jobs - 2))
        last = chain(job.si(), middle, job.si()).apply_async()
    else:
        last = chain(*(job.si() for _ in range(jobs))).apply_async()
    ended = last.get()
    first = last
    while first.parent is not None:
        first = first.parent
    return [float(first.get()), ended]


@contextlib.contextmanager
def _redis(port: int, directory: str) -> Iterator[None]:
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", directory]
    with _running([*command, "--save", ""], directory):
        client = redis.Redis(port=port)
        wait_until(lambda: _answers(client), what="redis-server")
        client.close()
        yield


@contextlib.contextmanager
def _worker(directory: str) -> Iterator[None]:
    command = [sys.executable, "-m", "celery", "-A", "benchmarks.peers.celery_app", "worker"]
    options = ["-c", str(workers()), "--without-gossip", "--without-mingle", "-l", "ERROR"]
    with _running([*command, *options], directory):
        yield


@contextlib.contextmanager
def _running(command: list[str], directory: str) -> Iterator[None]:
    with (Path(directory) / "output.log").open("a") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        try:
            yield
        finally:
            process.terminate()
            process.wait(60)


def _answers(client: Any) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


if __name__ == "__main__":
    report(measure)
