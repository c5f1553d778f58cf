"""Wire messages: what is kept when a job is sent on."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from messaging.wire import LaunchJob, decode_job, with_next_memory_step

_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=8,
)


def job(**fields: Any) -> bytes:
    defaults = {"kind": "launch", "job": "j", "attempt": 1, "launch_id": 1, "fw_id": 1}
    return json.dumps({**defaults, "firework": {}, "fworker": {}, **fields}).encode()


@given(st.dictionaries(_TEXT, _JSON, max_size=4), st.integers(0, 5), _JSON)
def test_the_next_memory_step_changes_nothing_else(
    firework: dict[str, Any], steps: int, unknown: Any
) -> None:
    data = job(firework=firework, of_a_newer_version=unknown)
    for _ in range(steps):
        data = with_next_memory_step(data)
    again = json.loads(data)
    assert again.pop("memory_step", 0) == steps
    assert again == json.loads(job(firework=firework, of_a_newer_version=unknown))
    decoded = decode_job(data)
    assert isinstance(decoded, LaunchJob)
    assert decoded.memory_step == steps
