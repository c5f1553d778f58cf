"""Whom the chaos run strikes, and when: the same for the same seed, as far as time allows."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

from benchmarks.chaos_site import Site


class Blows:
    """A kill of a random dispatcher or executor every so often, and restarts by progress.

    The restarts are spread evenly over the jobs, so that each comes in the middle of the work
    however fast the machine is. Not thread-safe.
    """

    def __init__(
        self,
        seed: int,
        seconds: float,
        most_kills: int | None,
        *,
        broker_restarts: int,
        mongodb_restarts: int,
    ) -> None:
        """`seconds` are those from one kill to the next."""
        self._random = random.Random(seed)
        self._seconds = seconds
        self._left = most_kills
        self._next = time.monotonic() + seconds
        self._broker = _spread(broker_restarts)
        self._mongodb = _spread(mongodb_restarts)

    def strike(self, site: Site, progress: float) -> None:
        """What is due; `progress` is the share of the jobs that are completed."""
        if self._broker and progress >= self._broker[0]:
            site.kill("broker")
            self._broker.pop(0)
        if self._mongodb and progress >= self._mongodb[0]:
            # In turn: after SIGKILL the last writes are gone, though they were acknowledged.
            site.restart_mongodb(killed=len(self._mongodb) % 2 == 1)
            self._mongodb.pop(0)
        now = time.monotonic()
        if now >= self._next and self._left != 0:
            self._next = now + self._seconds
            self._kill_one(site)

    def _kill_one(self, site: Site) -> None:
        victims: Sequence[str] = site.victims
        for name in self._random.sample(victims, len(victims)):
            if site.kill(name):
                self._left = None if self._left is None else self._left - 1
                return


def _spread(count: int) -> list[float]:
    return [(place + 1) / (count + 1) for place in range(count)]
