"""One record per finished job, in whatever order the events come."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.metrics import JobMetrics, MetricsCollector
from events.types import Event, make_event


def job_events(
    job: str, first_seq: int = 1, start: float = 100.0, failed: bool = False
) -> list[Event]:
    """The events of one job that runs from `start` on for 10 s."""
    steps: list[tuple[str, float, dict[str, Any]]] = [
        ("job.started", 0, {"queued": 0.5}),
        ("job.stage-in.started", 1, {}),
        ("job.stage-in.finished", 3, {"time": 2.0, "bytes": 1000}),
        ("job.execution.started", 3, {"executable": "wc"}),
        ("job.execution.finished", 7, {"executable": "wc", "exit_code": 3 if failed else 0}),
    ]
    if failed:
        failure = {"state": "FIZZLED", "phase": "execution", "reason": "exit code 3"}
        steps += [("job.finished", 10, failure)]
    else:
        steps += [
            ("job.stage-out.started", 7, {}),
            ("job.stage-out.finished", 9, {"time": 1.5, "bytes": 20}),
            ("job.finished", 10, {"state": "COMPLETED"}),
        ]
    return [
        make_event(
            {
                "type": event_type,
                "executor": "exec-1",
                "id": job,
                "seq": seq,
                "thread": 2,
                "name": f"count {job}",
                "attempt": 1,
                "timestamp": start + after,
                **more,
            }
        )
        for seq, (event_type, after, more) in enumerate(steps, first_seq)
    ]


def collect(collector: MetricsCollector, events: list[Event]) -> list[JobMetrics]:
    return [record for event in events for record in collector.add(event)]


class Clock:
    """A clock that stands still unless told."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_finished_job_gives_one_record() -> None:
    (record,) = collect(MetricsCollector(), job_events("a"))
    assert record == JobMetrics(
        executor="exec-1",
        thread=2,
        job="a",
        executable="wc",
        execution=4.0,
        stage_in=2.0,
        stage_out=1.5,
        input_size=1000,
        output_size=20,
        name="count a",
        state="COMPLETED",
        exit_code=0,
        attempt=1,
        queued=0.5,
        total=10.0,
        started=100.0,
        finished=110.0,
        phase=None,
        reason=None,
    )


def test_a_failed_job_says_where_and_why() -> None:
    (record,) = collect(MetricsCollector(), job_events("a", failed=True))
    assert (record.state, record.phase, record.exit_code) == ("FIZZLED", "execution", 3)
    assert record.stage_out is None
    assert record.output_size is None


@given(st.data())
def test_the_order_of_the_events_changes_nothing(data: st.DataObject) -> None:
    events = [
        event
        for number in range(data.draw(st.integers(1, 4)))
        for event in job_events(str(number), failed=data.draw(st.booleans()))
    ]
    expected = collect(MetricsCollector(), events)
    clock = Clock()
    collector = MetricsCollector(clock=clock)
    shuffled = data.draw(st.permutations(events))
    repeated = data.draw(st.lists(st.sampled_from(events), max_size=5))
    records = collect(collector, [*shuffled, *repeated])
    assert sorted(records, key=lambda record: record.job) == expected
    assert collector.flush() == []
    clock.now = 1e6
    assert collector.overdue() == []
    assert collector.dropped == 0


@given(st.sets(st.integers(0, 6)), st.permutations(range(8)))
def test_with_events_lost_the_record_comes_when_patience_ends(
    lost: set[int], order: list[int]
) -> None:
    events = job_events("a")
    clock = Clock()
    collector = MetricsCollector(patience=5.0, clock=clock)
    records = collect(collector, [events[index] for index in order if index not in lost])
    assert len(records) == (not lost)
    clock.now = 5.0
    records += collector.overdue()
    (record,) = records
    assert (record.job, record.state) == ("a", "COMPLETED")
    assert (record.stage_in is None) == (2 in lost)
    assert (record.total is None) == (0 in lost)
    # What comes later still does not open the job again.
    assert collect(collector, events) == []
    assert collector.flush() == []


@given(st.permutations(range(11)))
def test_a_run_that_was_given_back_does_not_count(order: list[int]) -> None:
    released = {"type": "job.released", "executor": "exec-1", "id": "a", "seq": 3, "timestamp": 50}
    events = [
        *job_events("a", start=40)[:2],
        make_event(released),
        *job_events("a", first_seq=4),
    ]
    clock = Clock()
    records = collect(MetricsCollector(clock=clock), [events[index] for index in order])
    (expected,) = collect(MetricsCollector(), job_events("a"))
    assert records == [expected]


def test_a_job_that_failed_before_its_start_is_not_waited_for() -> None:
    end = {"type": "job.finished", "executor": "e", "id": "a", "seq": 1, "state": "FIZZLED"}
    (record,) = MetricsCollector(clock=Clock()).add(make_event(end))
    assert (record.state, record.started, record.total) == ("FIZZLED", None, None)


def test_a_job_that_runs_twice_on_an_executor_gives_two_records() -> None:
    first, second = job_events("a"), job_events("a", first_seq=9, start=200.0)
    # The first run's end comes after the second run's start.
    events = [*first[:-1], *second[:2], first[-1], *reversed(second[2:])]
    records = collect(MetricsCollector(clock=Clock()), events)
    assert [record.started for record in records] == [100.0, 200.0]
    assert [record.total for record in records] == [10.0, 10.0]


def test_the_phases_of_several_tasks_are_summed() -> None:
    events = job_events("a")
    more = [event.model_copy(update={"event_id": f"more {event.event_id}"}) for event in events]
    middle = [*events[:7], *more[1:7], events[7]]
    numbered = [event.model_copy(update={"seq": seq}) for seq, event in enumerate(middle, 1)]
    (record,) = collect(MetricsCollector(), numbered)
    assert (record.stage_in, record.execution, record.stage_out) == (4.0, 8.0, 3.0)
    assert (record.input_size, record.output_size) == (2000, 40)


def test_durations_are_never_negative() -> None:
    events = job_events("a")
    events[-1] = events[-1].model_copy(update={"timestamp": 1.0})
    events[4] = events[4].model_copy(update={"timestamp": 1.0})
    (record,) = collect(MetricsCollector(), events)
    assert record.total == 0.0
    assert record.execution == 0.0


def test_events_of_others_and_without_sequence_numbers_do_no_harm() -> None:
    collector = MetricsCollector(clock=Clock())
    other = [
        make_event({"type": "executor.ready", "executor": "exec-1"}),
        make_event({"type": "job.rejected", "executor": "exec-1", "reason": "not JSON"}),
        make_event({"type": "job.paused", "executor": "exec-1", "id": "a"}),
    ]
    assert collect(collector, other) == []
    events = [event.model_copy(update={"seq": None}) for event in job_events("b")]
    assert collect(collector, events) == []
    (record,) = collector.flush()
    assert (record.job, record.total, record.stage_in) == ("b", 10.0, 2.0)


def test_jobs_that_never_finish_are_forgotten_beyond_a_number() -> None:
    collector = MetricsCollector(max_jobs=10)
    for number in range(30):
        collect(collector, job_events(str(number))[:5])
    assert collector.dropped == 20
    assert len(collect(collector, job_events("29")[5:])) == 1


def test_a_job_given_back_is_forgotten_before_one_that_runs() -> None:
    collector = MetricsCollector(max_jobs=2, clock=Clock())
    collect(collector, job_events("runs")[:-1])
    collect(collector, job_events("released")[:2])
    released = {"type": "job.released", "executor": "exec-1", "id": "released", "seq": 3}
    collect(collector, [make_event(released)])
    collect(collector, job_events("third")[:2])
    assert collector.dropped == 1
    (record,) = collect(collector, job_events("runs"))
    assert record.total == 10.0


def test_a_row_has_the_columns_of_the_header_and_hyperflow_s_come_first() -> None:
    header = JobMetrics.header().split("\t")
    assert header[:9] == [
        "executor",
        "thread",
        "job",
        "executable",
        "execution",
        "stage_in",
        "stage_out",
        "input_size",
        "output_size",
    ]
    events = job_events("a", failed=True)
    events[0] = events[0].model_copy(update={"name": "x"})
    events[-1] = events[-1].model_copy(update={"name": "tab\there\nline"})
    (record,) = collect(MetricsCollector(), events)
    cells = dict(zip(header, record.row().split("\t"), strict=True))
    assert cells["name"] == "tab here line"
    assert cells["execution"] == "4.000000"
    assert cells["stage_out"] == ""
    assert "\n" not in record.row()


def test_a_record_cannot_be_changed() -> None:
    (record,) = collect(MetricsCollector(), job_events("a"))
    with pytest.raises(FrozenInstanceError):
        record.state = "FIZZLED"  # type: ignore[misc]


def test_samples_count_as_come_and_are_not_kept() -> None:
    before, after = job_events("a")[:4], job_events("a")[4:]
    sample = {"type": "job.execution.sample", "executor": "exec-1", "id": "a", "memory": 1}
    samples = [make_event({**sample, "seq": seq, "timestamp": 104.0}) for seq in range(5, 1005)]
    after = [event.model_copy(update={"seq": seq}) for seq, event in enumerate(after, 1005)]
    collector = MetricsCollector(clock=Clock())
    assert collect(collector, [*before, *samples[:-1], *after]) == []
    (record,) = collector.add(samples[-1])
    (expected,) = collect(MetricsCollector(), job_events("a"))
    assert record == expected
    assert not collector._samples
