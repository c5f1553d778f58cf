"""What Pub/Sub is to be told of deliveries: acked when done with, else given back."""

from __future__ import annotations

import logging
from collections import defaultdict

from dispatcher.receiver import Delivery
from messaging.errors import PortfireError
from messaging.pubsub import PubSub

log = logging.getLogger(__name__)


class Settlement:
    """Collects what is to be settled until `send`, or the end of a ``with``. Not thread-safe."""

    def __init__(self, pubsub: PubSub) -> None:
        self._pubsub = pubsub
        #: Ack ids by subscription.
        self._done: dict[str, list[str]] = defaultdict(list)
        self._again: dict[str, list[str]] = defaultdict(list)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self.send()

    def add(self, delivery: Delivery, *, done: bool) -> None:
        """Ack it when it is done with; else it is to be delivered again, at once."""
        side = self._done if done else self._again
        side[delivery.subscription].append(delivery.message.ack_id)

    def send(self) -> None:
        """Tell Pub/Sub. Best effort: what is not acked is delivered again and found stale."""
        done, again = dict(self._done), dict(self._again)
        self._done.clear()
        self._again.clear()
        try:
            for subscription, ack_ids in done.items():
                self._pubsub.acknowledge(subscription, ack_ids)
            for subscription, ack_ids in again.items():
                self._pubsub.extend(subscription, ack_ids, 0)
        except (PortfireError, ValueError) as exc:
            log.debug("%s", exc)
