"""Counts how often executors report the end of one launch: all but one must be refused."""

from __future__ import annotations

import json
import threading
from collections import Counter
from typing import Any

from messaging.errors import NotFoundError, PortfireError
from messaging.names import Names
from messaging.pubsub import PubSub

_PULL_SECONDS = 1.0


class Tap:
    """A subscription of our own on the updates topic, and a thread that reads it until `close`.

    It is lost with the broker, and made again: what is reported meanwhile is not counted.
    """

    def __init__(self, address: str, names: Names) -> None:
        """`address` is the broker's."""
        self._pubsub = PubSub("portfire-local", address)
        self._topic = names.updates
        self._subscription = f"{names.updates}-tap"
        self._ends: Counter[str] = Counter()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tap", daemon=True)
        self._thread.start()

    @property
    def repeated(self) -> int:
        """Ends that were reported beyond the first of each launch."""
        return sum(self._ends.values()) - len(self._ends)

    def close(self) -> None:
        """Stop reading."""
        self._closing.set()
        self._pubsub.cancel_pulls()
        self._thread.join()
        self._pubsub.close()

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._read()
            except NotFoundError:
                self._subscribe()
            except (PortfireError, ValueError):
                # Away, or closed.
                self._closing.wait(0.1)

    def _subscribe(self) -> None:
        try:
            self._pubsub.create_subscription(self._subscription, self._topic)
        except PortfireError:
            self._closing.wait(0.1)

    def _read(self) -> None:
        received = self._pubsub.pull(self._subscription, 1000, _PULL_SECONDS)
        for message in received:
            self._ends.update(_ended(json.loads(message.data)))
        if received:
            self._pubsub.acknowledge(self._subscription, [each.ack_id for each in received])


def _ended(message: dict[str, Any]) -> list[str]:
    """The jobs whose end is told of in one message, which may carry several updates."""
    updates = message.get("updates", [message])
    return [update["job"] for update in updates if update.get("update") == "finished"]
