"""Dask distributed: a scheduler and single-threaded workers on this machine."""

from __future__ import annotations

from typing import Any

from distributed import Client, LocalCluster

from benchmarks.peers.timing import Timing, job, report, timed, workers
from benchmarks.shapes import Graph


def measure(_shape: str, graph: Graph) -> Timing:
    """Run the jobs, each submitted with its parents' futures."""
    with (
        LocalCluster(
            n_workers=workers(), threads_per_worker=1, dashboard_address=None, silence_logs=50
        ) as cluster,
        Client(cluster) as client,
    ):
        client.gather(client.map(job, range(10 * workers()), pure=False))
        return timed(lambda: _run(client, graph))


def _run(client: Any, graph: Graph) -> list[float]:
    roots = sum(not parents for parents in graph)
    # At once, as Dask's users do; in every shape these are the first tasks.
    futures = list(client.map(job, range(roots), pure=False))
    for parents in graph[roots:]:
        futures.append(client.submit(job, [futures[parent] for parent in parents], pure=False))
    return list(client.gather(futures))


if __name__ == "__main__":
    report(measure)
