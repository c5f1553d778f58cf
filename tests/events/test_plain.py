"""Messages made without the models are those that the models make."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.plain import plain_message
from events.types import decode, make_event

_numbers = st.one_of(st.integers(-(10**9), 10**9), st.floats(allow_nan=False, allow_infinity=False))
_seconds = st.floats(0, 10**9)
_OF_ALL = {
    "event_id": st.text(min_size=1),
    "executor": st.text(min_size=1),
    "timestamp": st.floats(0, 2 * 10**9),
    "id": st.text(min_size=1, max_size=400),
    "seq": st.integers(1, 10**6),
    "thread": st.integers(1, 500),
    "name": st.text(),
    "pool": st.text(),
    "attempt": st.integers(1, 1000),
}
_OWN: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "job.started": {"queued": _seconds},
    "job.execution.started": {"executable": st.text()},
    "job.execution.finished": {
        "executable": st.text(),
        "exit_code": st.integers(-64, 255),
        "time": _seconds,
        "metrics": st.dictionaries(st.text(max_size=20), _numbers, max_size=5),
    },
    "job.finished": {"state": st.just("COMPLETED")},
}


def _bodies(event_type: str) -> st.SearchStrategy[dict[str, Any]]:
    fixed = {**_OF_ALL, **_OWN[event_type], "type": st.just(event_type)}
    return st.fixed_dictionaries(fixed)


@given(st.sampled_from(sorted(_OWN)).flatmap(_bodies))
def test_the_message_is_the_models(body: dict[str, Any]) -> None:
    message = plain_message(body)
    event = make_event(body)
    assert message is not None
    assert json.loads(message.data) == json.loads(event.encode())
    assert message.attributes == event.attributes()
    assert decode(message.data) == event


_PLAIN = {"type": "job.finished", "event_id": "e", "executor": "x", "timestamp": 1.0, "id": "j"}


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "job.released"},
        {"state": "FIZZLED", "reason": "two\nlines"},
        {"state": "FIZZLED"},
        {"state": "DONE"},
        {"name": None},
        {"thread": "1"},
        {"attempt": True},
        {"unknown": 1},
        {"id": ""},
        {"executor": ""},
        {"timestamp": -1.0},
        {"timestamp": float("nan")},
        {"timestamp": 1},
        {"type": "job.execution.finished", "metrics": {"memory": float("inf")}},
        {"type": "job.execution.finished", "metrics": {"deep": {}}},
        {"type": "job.execution.finished", "metrics": {1: 1}},
        {"type": "job.execution.finished", "error": "it failed"},
        {"type": "job.started", "queued": float("inf")},
        {"traceparent": "00-" + 32 * "1" + "-" + 16 * "2" + "-01"},
    ],
)
def test_what_is_not_plain_is_left_to_the_models(fields: dict[str, Any]) -> None:
    assert plain_message({**_PLAIN, "state": "COMPLETED"} | fields) is None


def test_an_end_without_a_state_is_left_to_the_models() -> None:
    assert plain_message(_PLAIN) is None


def test_text_that_cannot_be_sent_is_refused() -> None:
    with pytest.raises(ValueError, match="surrogates"):
        plain_message({**_PLAIN, "state": "COMPLETED", "name": "\udcff"})
