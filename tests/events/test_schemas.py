"""The published JSON Schemas, and the CloudEvents SDK, take every event as it is published."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_binary_event
from jsonschema import Draft202012Validator, ValidationError

from events.publisher import EventPublisher
from events.types import EVENT_TYPES
from messaging.names import Names
from messaging.pubsub import PubSub, Received
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
SCHEMAS = ROOT / "docs" / "event-schemas"
#: What a job's events carry beside their own fields.
JOB = {"id": "a b/\u00e9", "thread": 1, "name": "split", "attempt": 2, "pool": "gpu"}
JOB |= {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
#: Fields without which an event is none.
NEEDED = {"job.finished": {"state": "FIZZLED", "phase": "execution", "reason": "exit code 1"}}


def schema(event_type: str) -> dict[str, Any]:
    content = (SCHEMAS / f"{event_type}.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(content)
    return loaded


@pytest.fixture
def published(pubsub: PubSub, names: Names) -> dict[str, Received]:
    """A message of each type, as it comes to a subscriber."""
    subscription = f"{names.prefix}-schemas"
    pubsub.create_topic(names.events)
    pubsub.create_subscription(subscription, names.events)
    publisher = EventPublisher(pubsub, names, "exec 1/\u00e9")
    for event_type in EVENT_TYPES:
        job = JOB if event_type.startswith("job.") else {}
        publisher.publish(event_type, **job, **NEEDED.get(event_type, {}))
    found: dict[str, Received] = {}

    def all_came() -> bool:
        for message in pubsub.pull(subscription, 100, 1.0):
            found[message.attributes["type"]] = message
        return len(found) == len(EVENT_TYPES)

    wait_until(all_came, what="an event of each type")
    publisher.close(1.0)
    return found


def test_the_schemas_are_up_to_date() -> None:
    checked = subprocess.run(
        [sys.executable, ROOT / "tools" / "event_schemas.py", "--check"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert checked.returncode == 0, checked.stderr


def test_every_type_as_published_fits_its_schema(published: dict[str, Received]) -> None:
    for event_type, message in published.items():
        Draft202012Validator.check_schema(schema(event_type))
        Draft202012Validator(schema(event_type)).validate(json.loads(message.data))


def test_a_schema_refuses_what_is_no_such_event(published: dict[str, Received]) -> None:
    body = json.loads(published["job.finished"].data)
    for wrong in ({"type": "job.started"}, {"state": "DONE"}, {"seq": "first"}):
        with pytest.raises(ValidationError):
            Draft202012Validator(schema("job.finished")).validate({**body, **wrong})
    del body["event_id"]
    with pytest.raises(ValidationError, match="event_id"):
        Draft202012Validator(schema("job.finished")).validate(body)


def test_the_cloudevents_sdk_reads_every_type_as_published(published: dict[str, Received]) -> None:
    for event_type, message in published.items():
        # The SDK has no binding for Pub/Sub. Its HTTP binding's headers have the same names, and
        # values in percent encoding, which Pub/Sub's attributes do without.
        headers = {name: quote(value) for name, value in message.attributes.items()}
        headers["content-type"] = message.attributes["content-type"]
        event = from_binary_event(HTTPMessage(headers=headers, body=message.data))
        body = json.loads(message.data)
        assert event.get_type() == event_type
        assert event.get_id() == body["event_id"]
        assert event.get_source() == "/portfire/executors/exec%201%2F%C3%A9"
        assert event.get_subject() == body.get("id")
        assert event.get_extension("traceparent") == body.get("traceparent")
        assert event.get_specversion() == "1.0"
        time = event.get_time()
        assert time is not None
        assert time.timestamp() == pytest.approx(body["timestamp"], abs=1e-5)
        assert event.get_datacontenttype() == "application/json"
        assert event.get_data() == body
