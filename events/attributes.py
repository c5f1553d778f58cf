"""The attributes of events' messages: for filters, and CloudEvents 1.0 in binary mode."""

from __future__ import annotations

import functools
from datetime import datetime, timezone
from urllib.parse import quote

#: Pub/Sub refuses a whole publish request for one longer attribute value (in bytes).
MAX_ATTRIBUTE_BYTES = 1024


def routing_key(event_type: str, job: str | None) -> str:
    """The type, with the job's id in it: ``job.<id>.stage-in.started``."""
    return f"job.{job}.{event_type.removeprefix('job.')}" if job else event_type


def attributes_of(
    event_type: str,
    executor: str,
    event_id: str,
    timestamp: float,
    job: str | None = None,
    traceparent: str | None = None,
) -> dict[str, str]:
    """The attributes of an event's message; `timestamp` is in seconds since the epoch, UTC.

    A value longer than Pub/Sub allows is cut; the body has it whole.
    """
    moment = datetime.fromtimestamp(timestamp, timezone.utc)
    values = {
        "type": event_type,
        "executor": executor,
        "routing_key": routing_key(event_type, job),
        "content-type": "application/json",
        "ce-specversion": "1.0",
        "ce-id": event_id,
        "ce-source": _source(executor),
        "ce-type": event_type,
        "ce-time": moment.isoformat(timespec="microseconds")[: -len("+00:00")] + "Z",
    }
    if job:
        values["job"] = values["ce-subject"] = job
    if traceparent:
        values["ce-traceparent"] = traceparent
    # Hardly ever is there anything to cut; a character has 4 bytes at most.
    if max(map(len, values.values())) * 4 <= MAX_ATTRIBUTE_BYTES:
        return values
    limit = MAX_ATTRIBUTE_BYTES
    return {name: text.encode()[:limit].decode(errors="ignore") for name, text in values.items()}


@functools.cache
def _source(executor: str) -> str:
    return f"/portfire/executors/{quote(executor, safe='')}"
