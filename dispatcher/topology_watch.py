"""Looks, now and then, whether all topics and subscriptions are still there."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from messaging import topology
from messaging.errors import PortfireError
from messaging.names import Names
from messaging.pubsub import PubSub

log = logging.getLogger(__name__)


class TopologyWatch:
    """One thread that asks Pub/Sub every `seconds` and calls `on_missing`; ends with `stop`.

    A thread of its own because the questions take a third of a second on a real Pub/Sub. A deleted
    topic is noticed by nobody else: its subscriptions stay, and are silent.
    """

    def __init__(
        self,
        pubsub: PubSub,
        names: Names,
        pool: str,
        seconds: float,
        on_missing: Callable[[], None],
    ) -> None:
        self._pubsub = pubsub
        self._names = names
        self._pool = pool
        self._seconds = seconds
        self._on_missing = on_missing
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="topology", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread. Idempotent."""
        self._stopping.set()
        self._thread.join(timeout=5.0)

    def _run(self) -> None:
        while not self._stopping.wait(self._seconds):
            try:
                if topology.missing_parts(self._pubsub, self._names, self._pool):
                    self._on_missing()
            except (PortfireError, ValueError) as exc:
                # Away, or (ValueError, gRPC's word) closed: the others notice that as well.
                log.debug("%s", exc)
