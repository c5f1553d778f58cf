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

from events.plain import plain_message
from events.types import make_event
from messaging.names import Names
from messaging.publisher import BatchPublisher
from messaging.pubsub import Outgoing, PubSub

logger = logging.getLogger(__name__)

#: Jobs whose next sequence number is remembered; far more than one executor runs at a time.
REMEMBERED_JOBS = 10_000
#: Seconds after a request in which events wait for others to go with them.
_LINGER_SECONDS = 0.2


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
            pubsub, names.events, self._packed, max_queue=max_queue, linger=_LINGER_SECONDS
        )
        self._lock = threading.Lock()  # guards _seqs
        self._seqs: OrderedDict[str, int] = OrderedDict()
        #: What the ids of these events begin with, and what tells one from the other.
        self._series, self._count = uuid.uuid4().hex[:20], itertools.count(1)

    @property
    def lost(self) -> int:
        """Events that were not published and never will be."""
        return self._publisher.dropped

    def publish(self, event_type: str, **fields: Any) -> None:
        """Queue an event with these fields, of now unless they have a ``timestamp``.

        Never blocks, never raises. Events with a job ``id`` get the job's next ``seq``. The values
        are read later, in another thread: they must not be changed any more.
        """
        job = fields.get("id")
        with self._lock:
            # In here, so that the later one has the higher number.
            fields.setdefault("timestamp", time.time())
            if job and event_type.startswith("job."):
                fields["seq"] = self._next_seq(str(job))
            self._publisher.put((event_type, fields))

    def _next_seq(self, job: str) -> int:
        seq = self._seqs.pop(job, 0) + 1
        self._seqs[job] = seq
        if len(self._seqs) > REMEMBERED_JOBS:
            self._seqs.popitem(last=False)
        return seq

    def _packed(self, queued: tuple[str, dict[str, Any]]) -> Outgoing | None:
        """The message of an event; None, which is logged, when there can be none."""
        event_type, fields = queued
        body = {
            "event_id": f"{self._series}{next(self._count):012x}",
            "executor": self._executor,
            **fields,
            "type": event_type,
        }
        try:
            try:
                return plain_message(body) or _checked(body)
            except Exception:  # noqa: BLE001 - whatever a value's serialisation raises
                return _checked(_as_json(body))
        except Exception as exc:  # noqa: BLE001 - an event must not fail the others
            logger.error("event %s lost: %s", event_type, exc)
            return None

    def flush(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds until all that was queued is out; whether it is."""
        return self._publisher.flush(timeout)

    def close(self, timeout: float = 5.0) -> None:
        """Publish what is queued, for up to `timeout` seconds, and stop."""
        self._publisher.stop(timeout)


def _checked(body: Mapping[str, Any]) -> Outgoing:
    event = make_event(body)
    return Outgoing(event.encode(), event.attributes())


def _as_json(body: Mapping[str, Any]) -> dict[str, Any]:
    """JSON types only: a path becomes its text, and a file name's undecodable bytes ``?``."""
    text = json.dumps(body, ensure_ascii=False, default=str)
    plain: dict[str, Any] = json.loads(text.encode("utf-8", "replace"))
    return plain
