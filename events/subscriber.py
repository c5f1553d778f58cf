"""Watching the events topic: an iterator, an async iterator or a callback, while one watches."""

from __future__ import annotations

import logging
import os
import re
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING

from events.feed import PULL_SECONDS, Feed
from events.ordering import EventOrder
from events.types import Event, decode
from messaging.errors import MessageError
from messaging.filters import parse_filter
from messaging.names import Names
from messaging.settings import PubSubSettings, load

if TYPE_CHECKING:
    from messaging.pubsub import PubSub, Received

logger = logging.getLogger(__name__)

#: Pub/Sub deletes what a killed watcher left behind after this time without a pull.
EXPIRE_SECONDS = 24 * 3600.0
#: Event ids that are remembered to drop repeated deliveries.
REMEMBERED_IDS = 20_000
#: How long an event waits for those of its job that go before it, seconds.
PATIENCE_SECONDS = 1.0
_LEAST_SECONDS = 0.05
#: Attributes that all events of a job on an executor have in common.
_OF_WHOLE_JOBS = {"job", "executor"}
_KEY = re.compile(r"""attributes\s*[.:]\s*"?([^"\s)=!,]*)""")


def subscribe(
    source: PubSubSettings | PubSub | None = None,
    names: Names | None = None,
    filter: str = "",  # noqa: A002 - Pub/Sub's own word for it
    patience: float | None = None,
) -> Subscription:
    """Watch the events from now on that pass `filter` (Pub/Sub's filter language).

    Where Pub/Sub is, `source` says, or else the environment. Creates the subscription, and the
    events topic when it is missing. `names` may be left out unless `source` is a connection.

    An event waits up to `patience` seconds for those of its job that go before it; not given, that
    is `PATIENCE_SECONDS`, and no time with a filter that takes only some of a job's events: then
    the missing ones need not be on their way.

    Raises UsageError for a wrong filter (naming the position), a refused permission or missing
    settings, ServiceError when Pub/Sub is away.
    """
    parse_filter(filter)
    if source is None:
        source = load(PubSubSettings, environ=os.environ)
    if isinstance(source, PubSubSettings):
        return Subscription(source.connect(), names or source.names, filter, patience)
    from messaging.pubsub import PubSub

    # A connection of its own: closing one subscription must not wake anybody else's pulls.
    own = PubSub(source.project, source.emulator_host)
    return Subscription(own, names or Names(), filter, patience)


class Subscription:
    """Events as they happen: ``for event in subscription``, ``async for``, or `watch`.

    Every event comes once (repeated deliveries are dropped by event id), and those of a job on an
    executor in the order of their ``seq``; one that is late by more than the patience comes when it
    comes. Messages that are no events are skipped, logged and counted in `malformed`. Survives a
    Pub/Sub that is away for a while, and a deleted subscription or topic (what was published
    meanwhile is lost). Closing, from any thread or by leaving the ``with`` or ``async with`` block,
    deletes the subscription and ends the iteration. One thread or task may receive at a time.
    """

    def __init__(
        self,
        pubsub: PubSub,
        names: Names,
        filter: str = "",  # noqa: A002 - as above
        patience: float | None = None,
    ) -> None:
        """Create the subscription; owns `pubsub` and closes it. See `subscribe`."""
        self.id = names.watcher(uuid.uuid4().hex[:12])
        self.malformed = 0
        if patience is None:
            patience = PATIENCE_SECONDS if _takes_whole_jobs(filter) else 0.0
        self._order = EventOrder(patience)
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._watcher: threading.Thread | None = None
        self._closing = threading.Lock()  # guards _closed
        self._closed = False
        self._awaited: AsyncIterator[Event] | None = None
        self._feed = Feed(pubsub, names.events, self.id, filter=filter, expire_after=EXPIRE_SECONDS)

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def __enter__(self) -> Subscription:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Subscription:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        from events.awaiting import in_thread

        await in_thread(self.close)

    def __iter__(self) -> Iterator[Event]:
        while not self.closed:
            yield from self.receive()
        yield from self.receive()

    def __aiter__(self) -> AsyncIterator[Event]:
        from events.awaiting import AsyncEvents

        if self._awaited is None:
            self._awaited = AsyncEvents(self)
        return self._awaited

    def receive(self, timeout: float = PULL_SECONDS) -> list[Event]:
        """The next events; waits up to `timeout` seconds for the first, then returns [].

        Once closed it gives those that waited for their turn, then []. Raises UsageError when
        Pub/Sub refuses (a permission was withdrawn).
        """
        deadline = time.monotonic() + timeout
        while not self.closed:
            left = deadline - time.monotonic()
            wait = self._order.seconds_to_wait()
            # A pull of no time at all brings nothing even where there is something.
            pause = max(_LEAST_SECONDS, left if wait is None else min(left, wait))
            received = self._feed.pull(pause)
            # These are safe with us now; a lost acknowledgement only makes them come again.
            self._feed.acknowledge(received)
            events = self._order.add([event for item in received for event in self._fresh(item)])
            if events or time.monotonic() >= deadline:
                return events
        return self._order.flush()

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
        with self._closing:
            if self._closed:
                return
            self._closed = True
        self._feed.close(delete=True)
        if self._watcher is not None and self._watcher is not threading.current_thread():
            self._watcher.join(timeout=5.0)

    def _fresh(self, item: Received) -> list[Event]:
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


def _takes_whole_jobs(filter: str) -> bool:  # noqa: A002 - as above
    """Whether a job's events on an executor pass the filter all or none."""
    return set(_KEY.findall(filter)) <= _OF_WHOLE_JOBS
