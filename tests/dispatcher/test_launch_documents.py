"""Launch documents are what FireWorks' own `Launch` would write."""

from __future__ import annotations

import copy
import datetime
from random import Random
from typing import Any

from fireworks import FWAction, FWorker, Tracker
from fireworks.core.firework import Launch
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.launch_documents import finished_launch, reserved_launch, started_launch
from messaging.wire import Finished, Started
from tests.dispatcher.random_workflows import Outcomes
from tests.dispatcher.workbench import CLAIMANT, NOTHING, State

_checkpoints = st.none() | st.fixed_dictionaries(
    {"_task_n": st.integers(0, 3), "_all_stored_data": st.dictionaries(st.text(), st.integers())}
)
_trackers = st.lists(
    st.builds(Tracker, st.text(min_size=1), st.integers(1, 50), st.text()), max_size=2
).map(lambda trackers: [tracker.to_dict() for tracker in trackers])
#: In and after 2023; `started` and `timestamp` are seconds after.
_START = 1.7e9
_seconds = st.floats(0, 1e6)
_places = st.fixed_dictionaries(
    {
        "host": st.text(min_size=1, max_size=5),
        "ip": st.just("10.0.0.1"),
        "launch_dir": st.text(max_size=5),
    }
)


@st.composite
def _reserved(draw: st.DrawFn) -> dict[str, Any]:
    """A launch that was claimed, and perhaps published."""
    worker = FWorker(draw(st.text(min_size=1)), draw(st.text()), {"spec.a": 1}, {"env": 1})
    spec = {"_trackers": draw(_trackers), "_tasks": [NOTHING.to_dict()]}
    document = reserved_launch(
        CLAIMANT, 3, {"fw_id": 7, "spec": spec}, worker.to_dict(), "host", "ip"
    )
    # Long before anything here happens.
    entry = document["state_history"][0]
    entry["created_on"] = entry["updated_on"] = _moment(_START - 60).isoformat()
    if draw(st.booleans()):
        entry["reservation_id"] = "17"
    return document


def _who() -> dict[str, Any]:
    return {"job": "job", "attempt": 1, "launch_id": 3, "executor": "executor-1"}


def _moment(timestamp: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(timestamp, datetime.timezone.utc)


def _begin(launch: Launch, place: dict[str, Any], began: float) -> None:
    """What FireWorks' checkout does, at another time."""
    for field, value in place.items():
        setattr(launch, field, value)
    launch.state = "RUNNING"
    launch.state_history[-1]["created_on"] = _moment(began)
    launch.touch_history(_moment(began))


@settings(max_examples=40, deadline=None)
@given(_reserved(), _places, _seconds)
def test_a_started_launch_is_fireworks(
    document: dict[str, Any], place: dict[str, Any], after: float
) -> None:
    launch = Launch.from_dict(copy.deepcopy(document))
    _begin(launch, place, _START + after)
    ours = started_launch(document, Started(**_who(), **place, timestamp=_START + after))
    assert ours == launch.to_db_dict()


@settings(max_examples=60, deadline=None)
@given(
    _reserved(),
    _places,
    _seconds,
    _seconds,
    st.tuples(_checkpoints, _checkpoints),
    st.none() | _trackers,
    st.integers(0, 2**32),
    st.booleans(),
)
def test_a_finished_launch_is_fireworks(
    document: dict[str, Any],
    place: dict[str, Any],
    after: float,
    runtime: float,
    checkpoints: tuple[dict[str, Any] | None, dict[str, Any] | None],
    trackers: list[dict[str, Any]] | None,
    seed: int,
    heard: bool,
) -> None:
    began, ended = _START + after, _START + after + runtime
    outcome = Outcomes(Random(seed)).outcome("it")
    action = outcome.told({})
    pinged, last = checkpoints
    launch = Launch.from_dict(copy.deepcopy(document))
    _begin(launch, place, began)
    if heard:
        document = started_launch(document, Started(**_who(), **place, timestamp=began))
        if pinged:
            document["state_history"][-1]["checkpoint"] = pinged
            launch.touch_history(_moment(began), pinged)
    _end(launch, ended, last, trackers, outcome.state, action)
    finished = Finished(
        **_who(),
        **place,
        state=outcome.state,
        action=action,
        started=began,
        timestamp=ended,
        checkpoint=last,
        trackers=trackers,
    )
    before = copy.deepcopy(document)
    assert finished_launch(document, finished) == launch.to_db_dict()
    assert document == before


def _end(
    launch: Launch,
    ended: float,
    checkpoint: dict[str, Any] | None,
    trackers: list[dict[str, Any]] | None,
    state: State,
    action: dict[str, Any],
) -> None:
    """The last ping of FireWorks' Rocket and its complete_launch, at another time."""
    launch.touch_history(_moment(ended), checkpoint)
    if trackers is not None:
        launch.trackers = [Tracker.from_dict(tracker) for tracker in trackers]
    launch.action = FWAction.from_dict(copy.deepcopy(action))
    launch.state = state
    launch.state_history[-1]["created_on"] = _moment(ended)
