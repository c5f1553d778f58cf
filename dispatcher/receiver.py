"""Threads that pull, so that the dispatcher's own thread never waits for a subscription."""

from __future__ import annotations

import logging
import threading
from collections import deque
from dataclasses import dataclass

from messaging.errors import NotFoundError, PortfireError
from messaging.pubsub import PubSub, Received

log = logging.getLogger(__name__)

_PULL_SECONDS = 20.0
_RETRY_SECONDS = 0.5
#: Messages that may wait to be applied: what is applied within their lease. More stay in Pub/Sub.
_MAX_WAITING = 1000
_MAX_PULLED = 500


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message and the subscription to settle it on."""

    subscription: str
    message: Received


class Inbox:
    """Where receivers put deliveries and the dispatcher takes them. Thread-safe."""

    def __init__(self) -> None:
        #: Guards everything below.
        self._changed = threading.Condition()
        self._waiting: deque[Delivery] = deque()
        self._woken = False
        self._nudged = False
        self.topology_lost = threading.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, deliveries: list[Delivery]) -> None:
        """Add; waits while too many wait already."""
        with self._changed:
            self._changed.wait_for(
                lambda: len(self._waiting) + len(deliveries) <= _MAX_WAITING or self._woken
            )
            self._waiting.extend(deliveries)
            self._changed.notify_all()

    def take(self) -> list[Delivery]:
        """All that wait; does not block."""
        with self._changed:
            taken, self._waiting = list(self._waiting), deque()
            self._changed.notify_all()
            return taken

    def wait(self, timeout: float) -> None:
        """Until something arrives, `wake` or `nudge` is called, or `timeout` seconds passed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._woken or self._nudged, timeout)

    def nudge(self) -> None:
        """End the present wait, or the next one: there is something to look at elsewhere."""
        with self._changed:
            self._nudged = True
            self._changed.notify_all()

    def take_nudge(self) -> bool:
        """Whether `nudge` was called since this was last asked."""
        with self._changed:
            nudged, self._nudged = self._nudged, False
            return nudged

    def wake(self) -> None:
        """Make this and every later wait return at once: the dispatcher is stopping."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()


class Receiver:
    """One thread that pulls from one subscription into an inbox until `stop`."""

    def __init__(self, pubsub: PubSub, subscription: str, inbox: Inbox) -> None:
        self._pubsub = pubsub
        self._subscription = subscription
        self._inbox = inbox
        self._stopping = threading.Event()
        self._failing = False
        self._thread = threading.Thread(target=self._run, name=f"pull-{subscription}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; `PubSub.cancel_pulls` must have been called. Idempotent."""
        self._stopping.set()
        self._thread.join(timeout=5.0)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                received = self._pubsub.pull(self._subscription, _MAX_PULLED, _PULL_SECONDS)
            except PortfireError as exc:
                self._note(exc)
                self._stopping.wait(_RETRY_SECONDS)
                continue
            self._failing = False
            if received:
                self._inbox.put([Delivery(self._subscription, item) for item in received])

    def _note(self, error: PortfireError) -> None:
        if isinstance(error, NotFoundError):
            self._inbox.topology_lost.set()
        if not self._failing and not self._stopping.is_set():
            self._failing = True
            log.warning("%s; trying again until it works", error)
