"""Events travel without change, and what is no event is refused with its reason."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from events.attributes import MAX_ATTRIBUTE_BYTES
from events.types import (
    EVENT_TYPES,
    Event,
    ExecutionFinished,
    JobEvent,
    JobFinished,
    JobRejected,
    JobStarted,
    StagedFile,
    StageFinished,
    decode,
    make_event,
)
from messaging.errors import MessageError

TYPES = [
    "executor.ready",
    "executor.heartbeat",
    "executor.draining",
    "executor.stopped",
    "job.started",
    "job.stage-in.started",
    "job.stage-in.progress",
    "job.stage-in.finished",
    "job.execution.started",
    "job.image-pull.started",
    "job.image-pull.progress",
    "job.image-pull.finished",
    "job.execution.sample",
    "job.execution.finished",
    "job.stage-out.started",
    "job.stage-out.progress",
    "job.stage-out.finished",
    "job.finished",
    "job.released",
    "job.cancelled",
    "job.rejected",
]

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**60), 2**60)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def events(draw: st.DrawFn) -> Event:
    fields: dict[str, Any] = {
        "type": draw(st.sampled_from([*TYPES, "job.paused", "fleet.grown"])),
        "executor": draw(texts.filter(bool)),
        "timestamp": draw(st.floats(0, 253402300799)),
        "id": draw(texts.filter(bool)),
        "seq": draw(st.integers(1, 1000)),
        "thread": draw(st.none() | st.integers(0, 64) | texts),
        "reason": draw(st.text(max_size=10).filter(str.isprintable) | texts),
        "state": draw(st.sampled_from(["COMPLETED", "FIZZLED", "FAILED"])),
        "time": draw(st.none() | st.floats(0, 1e6)),
        "metrics": draw(st.dictionaries(texts, json_values, max_size=3)),
        "exit_code": draw(st.none() | st.integers(-64, 255)),
        "x_more": draw(json_values),
    }
    return make_event({name: value for name, value in fields.items() if value is not None})


@given(events())
def test_an_event_comes_out_of_its_json_as_it_went_in(event: Event) -> None:
    again = decode(event.encode())
    assert type(again) is type(event)
    assert again.model_dump() == event.model_dump()
    assert again.encode() == event.encode()


@given(events())
def test_attributes_are_what_pubsub_and_cloudevents_ask_for(event: Event) -> None:
    attributes = event.attributes()
    assert attributes["type"] == attributes["ce-type"] == event.type
    assert attributes["ce-specversion"] == "1.0"
    assert attributes["content-type"] == "application/json"
    assert attributes["ce-id"] == event.event_id
    assert attributes["ce-source"].startswith("/portfire/executors/")
    assert attributes["ce-time"].endswith("Z")
    assert all(0 < len(value.encode()) <= MAX_ATTRIBUTE_BYTES for value in attributes.values())


@given(st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
def test_garbage_is_refused_in_one_line(data: bytes) -> None:
    with pytest.raises(MessageError) as caught:
        decode(data)
    assert "event" in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"type": "job.finished", "executor": "e", "id": "1", "state": "DONE"}, "state"),
        ({"type": "job.started", "executor": "e"}, "id is missing"),
        ({"executor": "e"}, "type is missing"),
        ({"type": 3, "executor": []}, "executor"),
        ({"type": "executor.ready", "executor": "e", "timestamp": 1e15}, "timestamp"),
        ({"type": "executor.ready", "executor": "e", "version": "2.0"}, "version '2.0'"),
        ({"type": "executor.ready", "executor": "e", "version": 1}, "version 1"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(MessageError, match=named):
        decode(json.dumps(fields).encode())


def test_nan_and_lone_surrogates_are_refused() -> None:
    for text in ('"timestamp": NaN', '"more": "\\ud800"'):
        with pytest.raises(MessageError):
            decode(f'{{"type": "executor.ready", "executor": "e", {text}}}'.encode())


def test_every_type_of_the_design_has_its_class() -> None:
    assert sorted(EVENT_TYPES) == sorted(TYPES)
    for name, model in EVENT_TYPES.items():
        fields = {"type": name, "executor": "e", "id": "7", "state": "COMPLETED"}
        assert type(make_event(fields)) is model


def test_an_unknown_type_of_the_same_major_version_keeps_all_its_fields() -> None:
    data = b'{"version": "1.7", "type": "fleet.grown", "executor": "e", "size": 3}'
    event = decode(data)
    assert type(event) is Event
    assert json.loads(event.encode())["size"] == 3
    job = decode(b'{"version": "1.7", "type": "job.paused", "executor": "e", "id": "7"}')
    assert type(job) is JobEvent
    assert job.routing_key == "job.7.paused"


def test_a_known_type_keeps_fields_it_does_not_know() -> None:
    event = decode(b'{"type": "job.started", "executor": "e", "id": "7", "colour": "red"}')
    assert isinstance(event, JobStarted)
    assert json.loads(event.encode())["colour"] == "red"


def test_the_routing_key_has_the_job_in_it() -> None:
    stage = StageFinished(type="job.stage-in.finished", executor="e", id="a.b")
    assert stage.routing_key == "job.a.b.stage-in.finished"
    assert stage.attributes()["routing_key"] == stage.routing_key
    assert stage.attributes()["job"] == stage.attributes()["ce-subject"] == "a.b"
    assert Event(type="executor.ready", executor="e").routing_key == "executor.ready"


def test_a_rejected_message_may_name_no_job() -> None:
    event = JobRejected(executor="e", reason="not JSON")
    assert event.routing_key == "job.rejected"
    assert "job" not in event.attributes()


@pytest.mark.parametrize("name", ["exit_code", "exit_status"])
def test_the_exit_code_has_both_names(name: str) -> None:
    event = make_event({"type": "job.execution.finished", "executor": "e", "id": "1", name: -9})
    assert isinstance(event, ExecutionFinished)
    assert (event.exit_code, event.exit_status) == (-9, -9)


def test_a_reason_is_one_line() -> None:
    event = JobFinished(executor="e", id="1", state="FIZZLED", reason=" no\n\tsuch  file\n" * 900)
    assert event.reason is not None
    assert event.reason.startswith("no such file no such")
    assert len(event.reason) <= 2000


def test_the_end_of_a_stage_says_which_files_it_moved() -> None:
    files = [{"name": "a", "bytes": 3, "checksum": "crc32c:00ff00ff"}, {"name": "b", "bytes": 4}]
    fields = {"type": "job.stage-in.finished", "executor": "e", "id": "7", "cached": 4}
    event = make_event({**fields, "files": files})
    assert isinstance(event, StageFinished)
    assert event.files[1] == StagedFile(name="b", bytes=4)
    assert json.loads(event.encode())["files"] == files


def test_an_event_cannot_be_changed() -> None:
    event = JobStarted(executor="e", id="1")
    with pytest.raises(ValidationError):
        event.id = "2"


@pytest.mark.parametrize("name", TYPES)
def test_every_type_has_a_json_schema(name: str) -> None:
    schema = EVENT_TYPES[name].model_json_schema()
    assert json.loads(json.dumps(schema)) == schema
    assert "executor" in schema["required"]
    assert schema["additionalProperties"] is True
    type_schema = schema["properties"]["type"]
    assert name == type_schema.get("const") or name in type_schema["enum"]
    assert ("id" in schema["properties"]) == name.startswith("job.")
