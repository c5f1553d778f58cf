"""One subscription to the events topic, kept alive: what watchers and recorders pull from."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from messaging.errors import NotFoundError, PortfireError, ServiceError
from messaging.filters import parse_filter

if TYPE_CHECKING:
    from messaging.pubsub import PubSub, Received

logger = logging.getLogger(__name__)

PULL_SECONDS = 20.0
#: Messages of one pull.
PULL_MESSAGES = 500
_RETRY_SECONDS = 1.0
#: How often a subscription that brings nothing is looked up: its topic may have been deleted.
_CHECK_SECONDS = 15.0


class Feed:
    """Pulls messages from a subscription of the events topic, through outages.

    A Pub/Sub that is away is waited for. A deleted subscription or topic is made again; what was
    published meanwhile is lost, and said. One thread may pull at a time; `close` may come from any.
    """

    def __init__(
        self,
        pubsub: PubSub,
        topic: str,
        subscription: str,
        *,
        filter: str = "",  # noqa: A002 - Pub/Sub's own word for it
        expire_after: float | None = None,
    ) -> None:
        """Create what is missing; owns `pubsub` and closes it. Raises as `PubSub` does."""
        self.id = subscription
        self._pubsub = pubsub
        self._topic = topic
        self._filter = parse_filter(filter)
        self._expire_after = expire_after
        self._closed = threading.Event()
        self._failing = False
        self._checked = time.monotonic()
        try:
            #: Whether the subscription was not there before.
            self.is_new = self._create()
        except BaseException:
            pubsub.close()
            raise

    @property
    def closed(self) -> bool:
        """Whether `stop` or `close` was called."""
        return self._closed.is_set()

    def pull(self, timeout: float = PULL_SECONDS) -> list[Received]:
        """The next messages that pass the filter, after up to `timeout` seconds.

        Empty then, during an outage, and when closed. Raises UsageError when Pub/Sub refuses (a
        permission was withdrawn).
        """
        try:
            received = self._pull(timeout)
        except (PortfireError, ValueError):
            # ValueError is gRPC's word for a closed channel.
            if self.closed:
                return []
            raise
        # Google's emulator delivers what the filter excludes.
        passes = [self._filter.matches(item.attributes) for item in received]
        self.acknowledge(
            [item for item, wanted in zip(received, passes, strict=True) if not wanted]
        )
        return [item for item, wanted in zip(received, passes, strict=True) if wanted]

    def acknowledge(self, messages: Sequence[Received]) -> None:
        """Settle messages. When that fails they come again."""
        if not messages:
            return
        try:
            self._pubsub.acknowledge(self.id, [item.ack_id for item in messages])
        except (NotFoundError, ServiceError) as exc:
            self._note(exc)

    def give_back(self, messages: Sequence[Received]) -> None:
        """Let messages come again at once, rather than when their leases end. Best effort."""
        try:
            self._pubsub.extend(self.id, [item.ack_id for item in messages], 0)
        except PortfireError as exc:
            self._note(exc)

    def stop(self) -> None:
        """Wake the pull; it and all later ones give []. From any thread; idempotent."""
        self._closed.set()
        self._pubsub.cancel_pulls()

    def close(self, delete: bool = False) -> None:
        """Stop, and close the connection; delete the subscription first, if asked. Never raises."""
        self.stop()
        try:
            if delete:
                self._pubsub.delete_subscription(self.id)
        except NotFoundError:
            pass
        except PortfireError as exc:
            logger.warning("subscription %s stays behind for a day: %s", self.id, exc)
        self._pubsub.close()

    def _pull(self, timeout: float) -> list[Received]:
        try:
            received = self._pubsub.pull(self.id, PULL_MESSAGES, timeout)
            if not received and not self.closed:
                self._check()
        except NotFoundError as exc:
            self._note(exc)
            self._recreate()
            return []
        except ServiceError as exc:
            self._note(exc)
            self._closed.wait(_RETRY_SECONDS)
            return []
        self._failing = False
        return received

    def _create(self) -> bool:
        try:
            return self._create_subscription()
        except NotFoundError:
            self._pubsub.create_topic(self._topic)
            return self._create_subscription()

    def _create_subscription(self) -> bool:
        return self._pubsub.create_subscription(
            self.id, self._topic, filter=self._filter.text, expire_after=self._expire_after
        )

    def _check(self) -> None:
        if time.monotonic() - self._checked < _CHECK_SECONDS:
            return
        self._checked = time.monotonic()
        if not self._pubsub.subscription_exists(self.id):
            raise NotFoundError(f"subscription {self.id} lost its topic {self._topic}")

    def _recreate(self) -> None:
        try:
            self._create()
        except (NotFoundError, ServiceError):
            self._closed.wait(_RETRY_SECONDS)

    def _note(self, error: PortfireError) -> None:
        if not self._failing and not self.closed:
            self._failing = True
            logger.warning("events are interrupted: %s", error)
