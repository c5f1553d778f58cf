"""The reference pages name every type, field and column that the code has."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest
from pydantic import BaseModel

from events.metrics import JobMetrics
from events.types import EVENT_TYPES, Event
from messaging import wire
from messaging.names import Names

DOCS = Path(__file__).parents[2] / "docs"


def named(page: str) -> set[str]:
    """Everything in `code font`, outside of fenced code, on a page."""
    text = re.sub(r"```.*?```", "", (DOCS / page).read_text(encoding="utf-8"), flags=re.DOTALL)
    return set(re.findall(r"`([^`]+)`", text))


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_the_page_on_events_has_every_type_and_field(event_type: str) -> None:
    assert {event_type, *EVENT_TYPES[event_type].model_fields} <= named("events.md")


def test_the_page_on_events_has_every_attribute_and_column() -> None:
    event = Event(type="executor.ready", executor="e")
    assert set(event.attributes()) <= named("events.md")
    assert {field.name for field in fields(JobMetrics)} <= named("events.md")


@pytest.mark.parametrize(
    "model",
    [
        wire.LaunchJob,
        wire.RawJob,
        wire.Reply,
        wire.Started,
        wire.Ping,
        wire.Finished,
        wire.Released,
        wire.Cancel,
    ],
)
def test_the_page_on_messages_has_every_field(model: type[BaseModel]) -> None:
    assert set(model.model_fields) <= named("messages.md")


def test_the_page_on_messages_has_every_topic_and_subscription() -> None:
    names = Names("<prefix>")
    ids = [names.jobs, names.updates, names.control, names.events, names.dead_jobs]
    ids += [names.pool_jobs("<pool>"), names.executor_control("<executor>")]
    ids += [names.reply("<token>"), names.watcher("<token>")]
    assert set(ids) <= named("messages.md")
