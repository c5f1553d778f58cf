"""Messages of events whose fields need no check: made several times as fast as by their models.

Four events tell of most jobs, a thousand times a second where jobs are short. Their fields come
from Portfire itself, with values of plain types; whatever has another goes through its model.
What comes out is the same (tests/events/test_plain.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pydantic_core import to_json

from events.attributes import attributes_of
from events.types import END_OF_9999, EVENT_VERSION
from messaging.pubsub import Outgoing

_OF_ALL = {
    "type": str,
    "event_id": str,
    "executor": str,
    "timestamp": float,
    "id": str,
    "seq": int,
    "thread": int,
    "name": str,
    "pool": str,
    "attempt": int,
}
#: The fields of each event, with their types.
_FIELDS: Mapping[str, Mapping[str, type]] = {
    "job.started": {**_OF_ALL, "queued": float},
    "job.execution.started": {**_OF_ALL, "executable": str},
    "job.execution.finished": {
        **_OF_ALL,
        "executable": str,
        "exit_code": int,
        "time": float,
        "metrics": dict,
    },
    "job.finished": {**_OF_ALL, "state": str},
}


def plain_message(body: Mapping[str, Any]) -> Outgoing | None:
    """The message of an event with these fields; None when its model has to look at them.

    Raises ValueError for text that is no UTF-8.
    """
    types = _FIELDS.get(body["type"])
    if types is None or not _are_plain(body, types):
        return None
    fields = {"version": EVENT_VERSION, **body}
    if "exit_code" in fields:
        fields["exit_status"] = fields["exit_code"]
    attributes = attributes_of(
        body["type"], body["executor"], body["event_id"], body["timestamp"], body["id"]
    )
    return Outgoing(to_json(fields), attributes)


def _are_plain(body: Mapping[str, Any], types: Mapping[str, type]) -> bool:
    for name, value in body.items():
        kind = type(value)
        if kind is not types.get(name):
            return False
        if kind is float and not math.isfinite(value):
            return False
        if kind is dict and not _are_numbers(value):
            return False
    if "state" in types and body.get("state") != "COMPLETED":
        return False
    return bool(body.get("id") and body["executor"]) and 0 <= body["timestamp"] < END_OF_9999


def _are_numbers(metrics: Mapping[Any, Any]) -> bool:
    for name, value in metrics.items():
        if type(name) is not str or type(value) not in (int, float) or not math.isfinite(value):
            return False
    return True
