"""What a container uses, sampled while it runs: the engine forgets it when the container ends.

The engine's statistics are read at growing intervals, first soon after the start. A container that
ends before the first sample has none; CPU seconds and bytes are those of the last sample.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from contextlib import closing
from typing import Any

import docker
import requests
from docker.errors import DockerException

from executor.containers.engine import connect

logger = logging.getLogger(__name__)

_FIRST = 0.2
_SLOWEST = 2.0
_NANOSECONDS = 1e-9


class StatsSampler:
    """Samples one container in a thread of its own, over a connection of its own."""

    def __init__(self, client: docker.APIClient, container: str) -> None:
        """`client` says which version of the API the engine speaks, and is not used."""
        self._version = client.api_version
        self._container = container
        self._ended = threading.Event()
        self._metrics: dict[str, Any] = {}
        self._thread = threading.Thread(target=self._run, name="container-stats", daemon=True)
        self._thread.start()

    def finish(self) -> dict[str, Any]:
        """End it; ``memory`` (peak bytes), ``cpu_seconds``, ``network`` and ``block`` bytes."""
        self._ended.set()
        return dict(self._metrics)

    def _run(self) -> None:
        pause = _FIRST
        if self._ended.wait(pause):
            return  # most short ones never cost a connection
        try:
            with closing(connect(self._version)) as client:
                while not self._ended.is_set():
                    self._note(client.stats(self._container, stream=False, one_shot=True))
                    self._ended.wait(pause)
                    pause = min(2 * pause, _SLOWEST)
        except (DockerException, requests.RequestException, OSError) as exc:
            # Nobody's job fails for want of a figure.
            logger.debug("no more statistics of %s: %s", self._container, exc)

    def _note(self, stats: Mapping[str, Any]) -> None:
        if self._ended.is_set() or not stats.get("memory_stats"):
            return  # an ended container's are all zero
        self._metrics = merged(self._metrics, stats)


def merged(before: Mapping[str, Any], stats: Mapping[str, Any]) -> dict[str, Any]:
    """The metrics `before` with one answer of the engine's ``/stats`` on top."""
    memory = stats.get("memory_stats") or {}
    # The kernel's own peak where there is one (cgroup v1); else what we happened to see.
    peak = max(before.get("memory", 0), memory.get("max_usage") or 0, _usage_without_cache(memory))
    cpu = ((stats.get("cpu_stats") or {}).get("cpu_usage") or {}).get("total_usage") or 0
    networks = (stats.get("networks") or {}).values()
    return {
        "memory": peak,
        "cpu_seconds": cpu * _NANOSECONDS,
        "network_received": sum(network.get("rx_bytes", 0) for network in networks),
        "network_sent": sum(network.get("tx_bytes", 0) for network in networks),
        "block_read": _block_bytes(stats, "read"),
        "block_written": _block_bytes(stats, "write"),
    }


def _usage_without_cache(memory: Mapping[str, Any]) -> int:
    # As the docker command shows it: the page cache that can be dropped is nobody's need.
    details = memory.get("stats") or {}
    cache = details.get("total_inactive_file", details.get("inactive_file", 0))
    return max(0, int(memory.get("usage") or 0) - int(cache))


def _block_bytes(stats: Mapping[str, Any], operation: str) -> int:
    entries = (stats.get("blkio_stats") or {}).get("io_service_bytes_recursive") or []
    return sum(int(e.get("value", 0)) for e in entries if e.get("op", "").lower() == operation)
