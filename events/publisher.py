"""Publishes an executor's events: batched, in the background, never in a job's way."""

from __future__ import annotations

import itertools
import json
import logging
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from events.types import Event, make_event
from messaging.errors import ServiceError
from messaging.names import Names
from messaging.publisher import BatchPublisher
from messaging.pubsub import Outgoing, PubSub

logger = logging.getLogger(__name__)

#: Jobs whose next sequence number is remembered; far more than one executor runs at a time.
REMEMBERED_JOBS = 10_000
#: Seconds after a request in which events wait for others to go with them.
_LINGER_SECONDS = 0.05


class EventPublisher:
    """Publishes events of `executor` on the events topic. Thread-safe.

    What cannot be published (topic missing, broker away for longer than the queue holds, an event
    that is not valid) is counted in `lost` and logged, and never reaches the caller.
    """

    def __init__(
        self, pubsub: PubSub, names: Names, executor: str, max_queue: int = 10_000
    ) -> None:
        self._executor = executor
        self._publisher = BatchPublisher(
            pubsub, names.events, max_queue=max_queue, linger=_LINGER_SECONDS
        )
        self._closed = False
        self._lock = threading.Lock()  # guards _seqs and _invalid
        self._seqs: OrderedDict[str, int] = OrderedDict()
        self._invalid = 0
        #: What the ids of these events begin with, and what tells one from the other.
        self._series, self._count = uuid.uuid4().hex[:20], itertools.count(1)

    @property
    def lost(self) -> int:
        """Events that were not published and never will be."""
        return self._publisher.dropped + self._invalid

    def publish(self, event_type: str, **fields: Any) -> None:
        """Queue an event with these fields, of now unless they have a ``timestamp``.

        Never blocks, never raises. Events with a job ``id`` get the job's next ``seq``.
        """
        try:
            self._put(self._message(event_type, fields))
        except Exception as exc:  # noqa: BLE001 - an event must not fail the job it tells of
            with self._lock:
                self._invalid += 1
            logger.error("event %s lost: %s", event_type, exc)

    def _put(self, message: Outgoing) -> None:
        if self._closed:
            raise ServiceError("the publisher is closed")
        self._publisher.put(message)

    def _message(self, event_type: str, fields: dict[str, Any]) -> Outgoing:
        body = {
            "event_id": f"{self._series}{next(self._count):012x}",
            "executor": self._executor,
            **fields,
            "type": event_type,
        }
        if body.get("id") and event_type.startswith("job."):
            self._number(str(body["id"]), body)
        try:
            event, data = _encoded(body)
        except Exception:  # noqa: BLE001 - whatever a value's serialisation raises
            event, data = _encoded(_plain(body))
        return Outgoing(data, event.attributes())

    def _number(self, job: str, body: dict[str, Any]) -> None:
        """Give the event its job's next number, and with it its time: the later the higher."""
        with self._lock:
            seq = self._seqs.pop(job, 0) + 1
            self._seqs[job] = seq
            if len(self._seqs) > REMEMBERED_JOBS:
                self._seqs.popitem(last=False)
            body["seq"] = seq
            body.setdefault("timestamp", time.time())

    def flush(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds until all that was queued is out; whether it is."""
        return self._publisher.flush(timeout)

    def close(self, timeout: float = 5.0) -> None:
        """Publish what is queued, for up to `timeout` seconds, and stop."""
        self._closed = True
        self._publisher.stop(timeout)


def _encoded(body: Mapping[str, Any]) -> tuple[Event, bytes]:
    event = make_event(body)
    return event, event.encode()


def _plain(body: Mapping[str, Any]) -> dict[str, Any]:
    """JSON types only: a path becomes its text, and a file name's undecodable bytes ``?``."""
    text = json.dumps(body, ensure_ascii=False, default=str)
    plain: dict[str, Any] = json.loads(text.encode("utf-8", "replace"))
    return plain
