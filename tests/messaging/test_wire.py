"""Wire messages: what is kept when a job is sent on."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from messaging.retries import DEFAULT_RETRIES, Failure, with_failure
from messaging.wire import LaunchJob, decode_job

_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=8,
)


def job(**fields: Any) -> bytes:
    defaults = {"kind": "launch", "job": "j", "attempt": 1, "launch_id": 1, "fw_id": 1}
    return json.dumps({**defaults, "firework": {}, "fworker": {}, **fields}).encode()


_FAILURES = st.builds(
    Failure,
    executor=_TEXT,
    cause=st.sampled_from(["infrastructure", "memory", "crash", "error", "of a newer version"]),
    reason=_TEXT,
    time=st.floats(0, 1e10),
)


@given(
    st.dictionaries(_TEXT, _JSON, max_size=4),
    st.lists(_FAILURES, max_size=5),
    st.integers(0, 9),
    _JSON,
)
def test_the_next_try_adds_its_failure_and_changes_nothing_else(
    firework: dict[str, Any], history: list[Failure], deliveries: int, unknown: Any
) -> None:
    data = job(firework=firework, of_a_newer_version=unknown)
    for failure in history:
        data = with_failure(data, failure, deliveries)
    decoded = decode_job(data)
    assert isinstance(decoded, LaunchJob)
    assert decoded.history == history
    assert decoded.memory_step == sum(failure.cause == "memory" for failure in history)
    assert decoded.delivered_before == (deliveries if history else 0)
    again = json.loads(data)
    for field in ("history", "memory_step", "delivered_before"):
        again.pop(field, None)
    assert again == json.loads(job(firework=firework, of_a_newer_version=unknown))


def test_a_message_of_an_older_dispatcher_has_the_default_retries() -> None:
    decoded = decode_job(job())
    assert isinstance(decoded, LaunchJob)
    assert (decoded.history, decoded.retries) == ([], DEFAULT_RETRIES)
    assert DEFAULT_RETRIES.error == 0
