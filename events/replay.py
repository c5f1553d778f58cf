"""Publishes a recording's events again: unchanged, in the order of their times."""

from __future__ import annotations

import heapq
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from events.recording import Record, read_events
from events.types import JobEvent
from messaging.errors import NotFoundError
from messaging.pubsub import Outgoing
from messaging.settings import PubSubSettings

if TYPE_CHECKING:
    from messaging.pubsub import PubSub

logger = logging.getLogger(__name__)

#: Events (and their bytes) among which an event finds its place: Pub/Sub delivers out of order.
_WINDOW_EVENTS = 10_000
_WINDOW_BYTES = 64_000_000
#: Events and bytes of one request.
_BATCH_EVENTS = 500
_BATCH_BYTES = 5_000_000
#: A longer silence is announced, seconds.
_LONG_SILENCE = 60.0


def replay(settings: PubSubSettings, path: Path, speed: float | None, stop: threading.Event) -> int:
    """Publish the events of a recording, as they were, until `stop` is set; their number.

    At `speed` 1 as far apart as they happened, at 10 ten times as fast, with None without a pause.
    Raises UsageError (the file cannot be read, Pub/Sub refuses) and ServiceError (it is away).
    """
    reader = read_events(path)
    count = 0
    with settings.connect() as pubsub:
        for batch in _batches(in_order(reader.records()), speed, stop):
            _publish(pubsub, settings.names.events, batch)
            count += len(batch)
    reader.close()
    return count


def in_order(records: Iterator[Record]) -> Iterator[Record]:
    """The records by time, each put right within a window: nothing is read far ahead."""
    heap: list[tuple[float, int, int, Record]] = []
    size = 0
    for number, record in enumerate(records):
        event = record.event
        # The numbers part events of the same moment.
        seq = (event.seq or 0) if isinstance(event, JobEvent) else 0
        heapq.heappush(heap, (event.timestamp, seq, number, record))
        size += len(record.data)
        while len(heap) > _WINDOW_EVENTS or (size > _WINDOW_BYTES and len(heap) > 1):
            first = heapq.heappop(heap)[-1]
            size -= len(first.data)
            yield first
    while heap:
        yield heapq.heappop(heap)[-1]


def _batches(
    records: Iterator[Record], speed: float | None, stop: threading.Event
) -> Iterator[list[Record]]:
    """The records, together what is due together; waits in between."""
    batch: list[Record] = []
    size = 0
    began: tuple[float, float] | None = None
    for record in records:
        began = began or (time.monotonic(), record.event.timestamp)
        due = began[0] + (record.event.timestamp - began[1]) / speed if speed else 0.0
        pause = due - time.monotonic()
        full = len(batch) == _BATCH_EVENTS or size + len(record.data) > _BATCH_BYTES
        if batch and (pause > 0 or full):
            yield batch
            batch, size = [], 0
        if _stopped(stop, pause):
            return
        batch.append(record)
        size += len(record.data)
    if batch:
        yield batch


def _stopped(stop: threading.Event, pause: float) -> bool:
    """Wait; whether to end."""
    if pause > _LONG_SILENCE:
        logger.warning("the next event comes in %.0f s: a larger --speed waits less", pause)
    return stop.wait(min(pause, threading.TIMEOUT_MAX)) if pause > 0 else stop.is_set()


def _publish(pubsub: PubSub, topic: str, batch: Sequence[Record]) -> None:
    messages = [Outgoing(record.data, record.event.attributes()) for record in batch]
    try:
        pubsub.publish(topic, messages)
    except NotFoundError:
        pubsub.create_topic(topic)
        pubsub.publish(topic, messages)
