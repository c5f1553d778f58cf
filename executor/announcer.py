"""What an executor says of itself: that it is ready, that it stops, that it has stopped."""

from __future__ import annotations

import logging

from events.publisher import EventPublisher
from events.silence import SilentPublisher
from executor.settings import ExecutorSettings
from executor.stopping import StopRequest
from executor.updates import host_and_ip
from messaging.pubsub import PubSub

log = logging.getLogger(__name__)


def event_publisher(pubsub: PubSub, settings: ExecutorSettings) -> EventPublisher:
    """Where an executor's events go: to its events topic, or, as its settings say, nowhere."""
    if not settings.events:
        return SilentPublisher()
    return EventPublisher(pubsub, settings.names, settings.executor_id)


class Announcer:
    """Events and log lines of one executor's life. Thread-safe; never blocks, never raises."""

    def __init__(
        self, settings: ExecutorSettings, events: EventPublisher, request: StopRequest
    ) -> None:
        self._settings = settings
        self._events = events
        self._request = request
        self._was_ready = False

    def ready(self) -> None:
        """It takes jobs."""
        settings = self._settings
        self._was_ready = True
        self._events.publish(
            "executor.ready", host=host_and_ip()[0], pool=settings.pool, threads=settings.threads
        )
        log.info(
            "executor %s takes jobs of pool %s in %d slots",
            settings.executor_id,
            settings.pool,
            settings.threads,
        )

    def draining(self) -> None:
        """It stops. Said at the beginning, and again when the machine is about to go."""
        self._events.publish("executor.draining", reason=self._request.reason)
        log.info("executor %s stops: %s", self._settings.executor_id, self._request.reason)

    def stopped(self) -> None:
        """Nothing runs any more: its last event."""
        if self._was_ready:
            self._events.publish(
                "executor.stopped", reason=self._request.reason, lost_events=self._events.lost
            )
