"""From a timeline's changes to a browser's columns."""

from __future__ import annotations

import math

from events.dashboard.bars import OTHER_CODE, PHASE_CODES, Bar, Bars, bar_columns
from events.dashboard.slots import SlotRows
from events.timeline import Timeline
from tests.events.dashboard.bag import (
    bag,
    executor_events,
    executor_id,
    failed_job,
    job_events,
    job_start,
)

_AT = 1_000_000.0


class Browser:
    """Does with the deltas what the page's data source does."""

    def __init__(self, timeline: Timeline, keep: int = 1_000) -> None:
        self.timeline = timeline
        self.bars = Bars(SlotRows(timeline.executors()), keep)
        self.rows: list[Bar | None] = []
        self.marks = 0
        self._keep = keep
        self._version = 0

    def update(self) -> int:
        """Take what is new; the number of bars sent."""
        changes = self.timeline.changes_since(self._version)
        self._version = changes.version
        delta = self.bars.take(changes)
        for place in delta.stale:
            self.rows[place] = None
        self.rows = [*self.rows, *delta.bars][-self._keep :]
        if delta.marks is not None:
            self.marks = len(delta.marks)
        return len(delta.bars)

    def keys_agree(self) -> bool:
        """Whether a click on each bar gives its own run."""
        return all(
            bar is None or self.bars.key_at(place) == bar.key for place, bar in enumerate(self.rows)
        )


def test_a_job_has_a_bar_for_each_phase_in_its_slots_row() -> None:
    timeline = _timeline(job_events(1, executor=1, thread=3, at=_AT, seconds=10))
    browser = Browser(timeline)
    browser.update()
    bars = [bar for bar in browser.rows if bar]
    assert [bar.phase for bar in bars] == list(PHASE_CODES.values())
    # Two executors of four slots; the second one's third.
    assert {bar.row for bar in bars} == {6}
    assert bars[0].left == _AT * 1e3
    assert bars[-1].right == (_AT + 10) * 1e3


def test_only_what_is_new_is_sent() -> None:
    timeline = _timeline(job_events(1, at=_AT))
    browser = Browser(timeline)
    assert browser.update() == 3
    assert browser.update() == 0
    for event in job_events(2, at=_AT + 2):
        timeline.add(event)
    assert browser.update() == 3


def test_a_running_job_grows_to_the_present_and_is_sent_once_it_ended() -> None:
    timeline = _timeline(job_start(1, at=_AT, seconds=10))
    browser = Browser(timeline)
    assert browser.update() == 0
    growing = browser.bars.growing(_AT + 100)
    assert max(bar.right for bar in growing) == (_AT + 100) * 1e3
    for event in job_events(1, at=_AT, seconds=10)[-2:]:
        timeline.add(event)
    assert browser.update() == 3
    assert browser.bars.growing(_AT + 100) == []


def test_a_job_without_phases_has_a_thin_bar() -> None:
    events = job_events(1, at=_AT)
    browser = Browser(_timeline([events[0], events[-1]]))
    browser.update()
    assert [bar.phase for bar in browser.rows if bar] == [OTHER_CODE]


def test_a_late_event_replaces_the_bars_of_its_job() -> None:
    events = job_events(1, at=_AT)
    late = events.pop(2)
    timeline = _timeline([*events, *job_events(2, thread=2, at=_AT)])
    browser = Browser(timeline)
    browser.update()
    timeline.add(late)
    browser.update()
    key = timeline.runs()[0].key
    phases = sorted(bar.phase for bar in browser.rows if bar and bar.key == key)
    assert phases == [0, 1, 2]
    assert browser.keys_agree()


def test_the_browser_keeps_the_last_bars_only_and_clicks_still_find_their_jobs() -> None:
    timeline = Timeline()
    browser = Browser(timeline, keep=100)
    for number, event in enumerate(bag(200, executors=2, threads=2, end=_AT)):
        timeline.add(event)
        if number % 97 == 0:
            browser.update()
    browser.update()
    assert len(browser.rows) == 100
    assert browser.keys_agree()


def test_what_the_timeline_forgets_vanishes() -> None:
    timeline = Timeline(keep=5)
    browser = Browser(timeline)
    for event in bag(20, executors=2, threads=2, end=_AT):
        timeline.add(event)
        browser.update()
    assert len([bar for bar in browser.rows if bar]) == 15
    assert browser.keys_agree()


def test_failed_jobs_are_framed() -> None:
    timeline = _timeline([*failed_job(1, at=_AT), *job_events(2, thread=2, at=_AT)])
    browser = Browser(timeline)
    browser.update()
    assert browser.marks == 1


def test_columns_have_the_same_length_and_proper_rectangles() -> None:
    browser = Browser(_timeline(bag(50, executors=2, threads=4, end=_AT)))
    browser.update()
    columns = bar_columns([bar for bar in browser.rows if bar])
    assert {len(column) for column in columns.values()} == {150}
    assert all(columns["left"] <= columns["right"])
    assert all(columns["top"] < columns["bottom"])
    assert not any(math.isnan(value) for value in columns["left"])


def test_slots_keep_their_rows_when_executors_come() -> None:
    rows = SlotRows()
    first = rows.row(executor_id(0), 1)
    timeline = _timeline([])
    for executor in timeline.executors():
        rows.add_executor(executor)
    assert rows.row(executor_id(0), 1) == first
    assert sorted(rows.row(executor_id(n), thread) for n in (0, 1) for thread in range(1, 5)) == [
        *range(8)
    ]


def test_many_slots_are_labelled_by_executor() -> None:
    timeline = Timeline()
    for event in executor_events(20, 10, _AT):
        timeline.add(event)
    rows = SlotRows(timeline.executors())
    assert len(rows) == 200
    assert len(rows.labels()) == 20


def _timeline(events: object) -> Timeline:
    timeline = Timeline()
    for event in [*executor_events(2, 4, _AT - 1), *events]:  # type: ignore[misc]
        timeline.add(event)
    return timeline
