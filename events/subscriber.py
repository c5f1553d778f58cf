"""Watching the events topic: an iterator or a callback over a temporary subscription."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING

from events.types import Event, decode
from messaging.errors import MessageError, NotFoundError, PortfireError, ServiceError
from messaging.filters import parse_filter
from messaging.names import Names
from messaging.settings import PubSubSettings

if TYPE_CHECKING:
    from messaging.pubsub import PubSub, Received

logger = logging.getLogger(__name__)

#: Pub/Sub deletes what a killed watcher left behind after this time without a pull.
EXPIRE_SECONDS = 24 * 3600.0
#: Event ids that are remembered to drop repeated deliveries.
REMEMBERED_IDS = 20_000
_PULL_SECONDS = 20.0
_PULL_MESSAGES = 500
_RETRY_SECONDS = 1.0
#: How often a subscription that brings nothing is looked up: its topic may have been deleted.
_CHECK_SECONDS = 15.0


def subscribe(
    source: PubSubSettings | PubSub,
    names: Names | None = None,
    filter: str = "",  # noqa: A002 - Pub/Sub's own word for it
) -> Subscription:
    """Watch the events from now on that pass `filter` (Pub/Sub's filter language).

    Creates the subscription, and the events topic when it is missing. `names` may be left out
    when `source` is settings. Raises UsageError for a wrong filter (naming the position), a
    refused permission or missing settings, ServiceError when Pub/Sub is away.
    """
    parse_filter(filter)
    if isinstance(source, PubSubSettings):
        return Subscription(source.connect(), names or source.names, filter)
    from messaging.pubsub import PubSub

    # A connection of its own: closing one subscription must not wake anybody else's pulls.
    own = PubSub(source.project, source.emulator_host)
    return Subscription(own, names or Names(), filter)


class Subscription:
    """Events as they happen: ``for event in subscription``, or `watch` with a callback.

    Every event comes once (repeated deliveries are dropped by event id), roughly in order; within
    a job ``seq`` gives the exact order. Messages that are no events are skipped, logged and counted
    in `malformed`. Survives a Pub/Sub that is away for a while, and a deleted subscription or topic
    (what was published meanwhile is lost). Closing, from any thread or by leaving the ``with``
    block, deletes the subscription and ends the iteration. One thread may receive at a time.
    """

    def __init__(self, pubsub: PubSub, names: Names, filter: str = "") -> None:  # noqa: A002 - as above
        """Create the subscription; owns `pubsub` and closes it. See `subscribe`."""
        self.id = names.watcher(uuid.uuid4().hex[:12])
        self.malformed = 0
        self._pubsub = pubsub
        self._topic = names.events
        self._filter = parse_filter(filter)
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._closed = threading.Event()
        self._watcher: threading.Thread | None = None
        self._failing = False
        self._checked = time.monotonic()
        try:
            self._create()
        except BaseException:
            pubsub.close()
            raise

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed.is_set()

    def __enter__(self) -> Subscription:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Event]:
        while not self.closed:
            yield from self.receive()

    def receive(self, timeout: float = _PULL_SECONDS) -> list[Event]:
        """The next events; waits up to `timeout` seconds for the first, then returns [].

        Raises UsageError when Pub/Sub refuses (a permission was withdrawn).
        """
        try:
            return self._receive(timeout)
        except (PortfireError, ValueError):
            # ValueError is gRPC's word for a closed channel.
            if self.closed:
                return []
            raise

    def watch(self, callback: Callable[[Event], None]) -> threading.Thread:
        """Call `callback` with every event, from a thread of its own, until closed.

        What the callback raises is logged, and the next event goes on.
        """
        self._watcher = threading.Thread(
            target=self._run, args=(callback,), name=f"watch-{self.id}", daemon=True
        )
        self._watcher.start()
        return self._watcher

    def close(self) -> None:
        """Delete the subscription and end the iteration. Idempotent; never raises."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._pubsub.cancel_pulls()
        try:
            self._pubsub.delete_subscription(self.id)
        except NotFoundError:
            pass
        except PortfireError as exc:
            logger.warning("subscription %s stays behind for a day: %s", self.id, exc)
        if self._watcher is not None and self._watcher is not threading.current_thread():
            self._watcher.join(timeout=5.0)
        self._pubsub.close()

    def _create(self) -> None:
        try:
            self._create_subscription()
        except NotFoundError:
            self._pubsub.create_topic(self._topic)
            self._create_subscription()

    def _create_subscription(self) -> None:
        self._pubsub.create_subscription(
            self.id, self._topic, filter=self._filter.text, expire_after=EXPIRE_SECONDS
        )

    def _receive(self, timeout: float) -> list[Event]:
        try:
            received = self._pubsub.pull(self.id, _PULL_MESSAGES, timeout)
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
        if received:
            self._acknowledge([item.ack_id for item in received])
        return [event for item in received for event in self._fresh(item)]

    def _acknowledge(self, ack_ids: list[str]) -> None:
        try:
            self._pubsub.acknowledge(self.id, ack_ids)
        except (NotFoundError, ServiceError) as exc:
            # They come again, and are dropped as repeated deliveries.
            self._note(exc)

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

    def _fresh(self, item: Received) -> list[Event]:
        # Google's emulator delivers what the filter excludes.
        if not self._filter.matches(item.attributes):
            return []
        try:
            event = decode(item.data)
        except MessageError as exc:
            self.malformed += 1
            logger.warning("skipped message %s: %s", item.message_id, exc)
            return []
        if event.event_id in self._seen:
            return []
        self._seen[event.event_id] = None
        if len(self._seen) > REMEMBERED_IDS:
            self._seen.popitem(last=False)
        return [event]

    def _run(self, callback: Callable[[Event], None]) -> None:
        try:
            for event in self:
                self._call(callback, event)
        except Exception:
            logger.exception("watching events ended")

    def _call(self, callback: Callable[[Event], None], event: Event) -> None:
        try:
            callback(event)
        except Exception:
            logger.exception("callback failed on event %s", event.routing_key)
