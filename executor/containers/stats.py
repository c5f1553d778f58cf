"""What a container uses, sampled while it runs: the engine forgets it when the container ends.

The engine's statistics are read at growing intervals, first soon after the start. A container that
ends before the first sample has none; CPU seconds and bytes are those of the last sample. The
summary is a program's (`executor.tally`).
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
from executor.probe import sample_teller
from executor.tally import INTERVAL, Tally
from executor.usage import Usage

logger = logging.getLogger(__name__)

_FIRST = 0.2
_NANOSECONDS = 1e-9


class StatsSampler:
    """Samples one container in a thread of its own, over a connection of its own.

    Made in the job's main thread.
    """

    def __init__(
        self, client: docker.APIClient, container: str, before: Usage | None = None
    ) -> None:
        """`client` says which version of the API the engine speaks, and is not used.

        `before` is what the engine had counted of the container when the job began.
        """
        #: What the engine counted so far, as of the last sample.
        self.counted = before or Usage()
        self._version = client.api_version
        self._container = container
        self._ended = threading.Event()
        self._tell = sample_teller()
        self._tally = Tally(before)
        self._sampled = False
        self._peak = 0
        self._noting = threading.Lock()  # guards the tally, and `counted`
        self._thread = threading.Thread(target=self._run, name="container-stats", daemon=True)
        self._thread.start()

    def finish(self) -> dict[str, Any]:
        """End it; the metrics of ``job.execution.finished`` without seconds. Empty if unknown."""
        self._ended.set()
        with self._noting:
            if not self._sampled:
                return {}
            return self._tally.end(Usage(memory=self._peak))

    def _run(self) -> None:
        pause = _FIRST
        if self._ended.wait(pause):
            return  # most short ones never cost a connection
        try:
            with closing(connect(self._version)) as client:
                while not self._ended.is_set():
                    self._note(client.stats(self._container, stream=False, one_shot=True))
                    self._ended.wait(pause)
                    pause = min(2 * pause, INTERVAL)
        except (DockerException, requests.RequestException, OSError) as exc:
            # Nobody's job fails for want of a figure.
            logger.debug("no more statistics of %s: %s", self._container, exc)

    def _note(self, stats: Mapping[str, Any]) -> None:
        with self._noting:
            if self._ended.is_set() or not stats.get("memory_stats"):
                return  # an ended container's are all zero
            self._sampled = True
            self.counted = usage_in(stats)
            # The kernel's own peak where there is one (cgroup v1); else what we happen to see.
            self._peak = max(self._peak, stats["memory_stats"].get("max_usage") or 0)
            sample = self._tally.add(self.counted)
            if sample is not None and self._tell is not None:
                self._tell(sample)


def usage_in(stats: Mapping[str, Any]) -> Usage:
    """What one answer of the engine's ``/stats`` says."""
    memory = stats.get("memory_stats") or {}
    cpu = ((stats.get("cpu_stats") or {}).get("cpu_usage") or {}).get("total_usage") or 0
    networks = (stats.get("networks") or {}).values()
    return Usage(
        cpu * _NANOSECONDS,
        _usage_without_cache(memory),
        {
            "block_read": _block_bytes(stats, "read"),
            "block_written": _block_bytes(stats, "write"),
            "network_received": sum(network.get("rx_bytes", 0) for network in networks),
            "network_sent": sum(network.get("tx_bytes", 0) for network in networks),
        },
    )


def _usage_without_cache(memory: Mapping[str, Any]) -> int:
    # As the docker command shows it: the page cache that can be dropped is nobody's need.
    details = memory.get("stats") or {}
    cache = details.get("total_inactive_file", details.get("inactive_file", 0))
    return max(0, int(memory.get("usage") or 0) - int(cache))


def _block_bytes(stats: Mapping[str, Any], operation: str) -> int:
    entries = (stats.get("blkio_stats") or {}).get("io_service_bytes_recursive") or []
    return sum(int(e.get("value", 0)) for e in entries if e.get("op", "").lower() == operation)
