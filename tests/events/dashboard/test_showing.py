"""The feed's state as HTML, as a terminal's table and as lines."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from events.dashboard import markup
from events.dashboard.feed import Feed, State
from events.dashboard.text import plain_line, snapshot, table
from events.dashboard.units import duration, size
from tests.events.dashboard.bag import executor_events, failed_job, job_events, job_start

_AT = 1_000_000.0
_SCRIPT = "<script>alert(1)</script>"


@pytest.fixture
def feed() -> Feed:
    """A running, a completed and a failed job; the failure's reason is an attack."""
    feed = Feed(clock=lambda: _AT + 5)
    feed.add(executor_events(1, 4, _AT))
    feed.add(job_start(1, at=_AT))
    feed.add(job_events(2, thread=2, at=_AT))
    feed.add(failed_job(3, thread=3, at=_AT, reason=_SCRIPT))
    return feed


@pytest.fixture
def state(feed: Feed) -> State:
    return feed.state()


def test_what_events_say_is_text_and_never_markup(feed: Feed, state: State) -> None:
    (failure,) = state.failures
    parts = [
        markup.failures(state),
        markup.job(failure, feed.runs_of("3")),
        markup.not_found(_SCRIPT),
    ]
    assert not any("<script" in part for part in parts)
    assert all("&lt;script&gt;" in part for part in parts)


def test_a_jobs_name_cannot_leave_its_attribute(feed: Feed) -> None:
    events = failed_job(4, thread=4, at=_AT)
    feed.add(event.model_copy(update={"id": '"onfocus="alert(1)'}) for event in events)
    assert '"onfocus="alert' not in markup.failures(feed.state())


def test_a_job_is_found_by_id_name_and_part_of_its_name(feed: Feed) -> None:
    for text in ("3", "count-3", "COUNT-3 "):
        found = feed.search(text)
        assert found is not None
        assert found.id == "3"
    assert feed.search("count") is not None
    assert feed.search("nothing") is None
    assert feed.search("") is None


def test_the_line_has_the_counts(state: State) -> None:
    line = plain_line(state)
    assert "1 running, 0 queued, 1 completed, 1 failed, 0 lost" in line
    assert "\n" not in line


def test_the_snapshot_is_json_with_pools_executors_and_failures(state: State) -> None:
    read = json.loads(json.dumps(snapshot(state)))
    assert read["pools"] == [
        {"name": "default", "executors": 1, "slots": 4, "running": 1, "queued": 0}
    ]
    assert read["counters"]["completed"] == 1
    assert read["executors"][0]["heard_seconds_ago"] == 0.0
    assert read["failures"][0]["reason"] == _SCRIPT


def test_unknown_queues_are_said_to_be_unknown(feed: Feed) -> None:
    feed.queue_problem = lambda: "no permission"
    state = feed.state()
    assert "? queued" in plain_line(state)
    assert snapshot(state)["pools"][0]["queued"] is None
    assert "no permission" in markup.pools(state)


@pytest.mark.parametrize("width", [60, 120])
def test_the_table_shows_what_fails_and_why(state: State, width: int) -> None:
    written = io.StringIO()
    Console(width=width, file=written).print(table(state))
    text = written.getvalue()
    assert "count-3" in text
    assert "execution" in text
    assert "vm-0" in text


@pytest.mark.parametrize(
    ("count", "expected"),
    [(None, "-"), (0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (999_600, "1 MB"), (5e10, "50 GB")],
)
def test_sizes_are_readable(count: float | None, expected: str) -> None:
    assert size(count) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(None, "-"), (-1, "0.00 s"), (0.42, "0.42 s"), (59.96, "1 min 00 s"), (7_380, "2 h 03 min")],
)
def test_durations_are_readable(seconds: float | None, expected: str) -> None:
    assert duration(seconds) == expected
