"""Events of a job come in order; what is missing is waited for, but not for long."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events import ordering
from events.ordering import EventOrder
from events.types import Event, JobEvent
from tests.events.recordings import job_events


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


def numbers(events: list[Event]) -> list[int | None]:
    return [event.seq for event in events if isinstance(event, JobEvent)]


@given(st.integers(1, 30), st.integers(1, 5), st.randoms(use_true_random=False))
def test_whatever_the_order_of_arrival_each_job_comes_in_its_own(
    count: int, jobs: int, chance: random.Random
) -> None:
    events = [event for job in range(jobs) for event in job_events(str(job), count)]
    chance.shuffle(events)
    order = EventOrder(1.0, Clock())
    out = [given_out for event in events for given_out in order.add([event])]
    assert order.seconds_to_wait() is None, "nothing waits when all have come"
    for job in range(jobs):
        of_job = [event for event in out if event.job == str(job)]
        assert numbers(of_job) == list(range(1, count + 1))


@given(st.lists(st.integers(1, 12), max_size=40), st.lists(st.floats(0, 2), max_size=40))
def test_nothing_is_lost_or_held_longer_than_the_patience(
    seqs: list[int], pauses: list[float]
) -> None:
    events = job_events("a", 12)
    clock = Clock()
    order = EventOrder(1.0, clock)
    came: dict[int, float] = {}
    out: list[Event] = []
    for index, seq in enumerate(seqs):
        # Another object each time: the same number twice is no repeated delivery.
        event = events[seq - 1].model_copy()
        came[id(event)] = clock.now
        held = [event]
        out += order.add(held)
        clock.now += pauses[index] if index < len(pauses) else 0.0
        out += order.overdue()
        waiting = order.seconds_to_wait()
        assert waiting is None or 0 < waiting <= 1.0
    assert sorted(numbers(out + order.flush()), key=str) == sorted(seqs, key=str)
    assert order.seconds_to_wait() is None


def test_a_gap_is_waited_for_and_the_late_event_still_comes() -> None:
    clock = Clock()
    order = EventOrder(1.0, clock)
    one, two, three, four = job_events("a", 4)
    assert order.add([one, three]) == [one]
    clock.now += 0.6
    assert order.add([four]) == []
    assert order.overdue() == []
    clock.now += 0.4
    assert order.overdue() == [three, four]
    assert order.add([two]) == [two]


def test_events_of_executors_and_those_without_a_number_do_not_wait() -> None:
    order = EventOrder(1.0, Clock())
    ready = Event(type="executor.ready", executor="e")
    unnumbered = JobEvent(type="job.paused", executor="e", id="a")
    _, second = job_events("a", 2)
    assert order.add([second, ready, unnumbered]) == [ready, unnumbered]


def test_an_executor_that_began_anew_is_followed() -> None:
    order = EventOrder(1.0, Clock())
    first = job_events("a", 3)
    again = [event.model_copy(update={"event_id": f"again/{i}"}) for i, event in enumerate(first)]
    assert order.add(first) == first
    assert order.add([again[0], again[2], again[1]]) == again


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ordering, "MAX_HELD", 100)
    monkeypatch.setattr(ordering, "REMEMBERED_JOBS", 200)
    order = EventOrder(1000.0, Clock())
    out = []
    for job in range(150):
        out += order.add(job_events(str(job), 2)[1:])
    assert len(out) == 50
    assert out[0].job == "0", "those that wait for longest go on"
    for job in range(500):
        order.add(job_events(f"b{job}", 1))
    assert len(order._lines) == 200
    assert len(out + order.flush()) == 150
