"""What the report counts: use of slots, cost of phases, spread of tasks, the critical path."""

from __future__ import annotations

import csv
import io

import pytest

from events.report.critical_path import Node, Workflow, critical_path
from events.report.figures import costs, spreads, use
from events.report.rows import COLUMNS, write_csv
from events.report.story import gather
from tests.events.timelines import T0, Story, executor_event


def test_efficiency_is_busy_over_available_slot_time() -> None:
    story = gather(
        [
            executor_event("executor.ready", 0, threads=4),
            *Story("1").run(0),
            *Story("2", thread=1).run(5),
            executor_event("executor.stopped", 20),
        ]
    )
    used = use(story)
    assert (used.slots, used.used_slots, used.busy, used.available) == (4, 2, 20.0, 80.0)
    assert used.efficiency == 0.25


def test_overlapping_runs_in_one_slot_count_once() -> None:
    story = gather([*Story("1").run(0), *Story("2").run(4)])
    assert use(story).busy == 14.0


def test_clocks_that_differ_give_no_efficiency_above_one() -> None:
    story = gather([*Story("1").run(0), *Story("2", executor="b").run(-90_000)])
    used = use(story)
    assert used.efficiency is not None
    assert 0.0 <= used.efficiency <= 1.0


def test_each_phase_costs_its_seconds_and_bytes_and_the_rest_is_other() -> None:
    late = Story("2", thread=1)
    story = gather(
        [*Story("1").run(), late.tell("started", 0), late.tell("finished", 10, state="COMPLETED")]
    )
    found = {cost.phase: cost for cost in costs(story)}
    assert [found[phase].seconds for phase in found] == [3.0, 1.0, 7.0, 2.0, 10.0]
    assert found["execution"].share == 0.35
    assert found["queued"].share is None
    assert (found["stage-in"].bytes, found["stage-in"].rate) == (1000, 1000.0)


def test_spreads_are_by_name_the_most_costly_first() -> None:
    events = [
        event
        for number in range(5)
        for event in Story(str(number), name="long" if number < 3 else "short", thread=number).run()
    ]
    story = gather(events)
    found = spreads(story.runs, lambda run: run.total, most=1)
    assert [(spread.name, spread.total) for spread in found] == [("long", 30.0)]
    assert found[0].quantiles == (10.0, 10.0, 10.0, 10.0, 10.0)


def test_since_leaves_out_what_ended_before() -> None:
    events = [*Story("1").run(0), *Story("2").run(100)]
    story = gather(events, since=60.0)
    assert [run.id for run in story.runs] == ["2"]
    assert (story.begin, story.end) == (T0 + 50, T0 + 110)


def test_executors_on_one_host_are_told_apart() -> None:
    ids = ("aaaaaaaa-1", "aaaaaaaa-2", "cccccccc-3")
    hosts = ("vm", "vm", "other")
    events = [
        executor_event("executor.ready", 0, i, host=h) for i, h in zip(ids, hosts, strict=True)
    ]
    for executor in ids:
        events += Story(f"job-{executor}", executor).run()
    assert list(gather(events).slots.values()) == [
        "vm aaaaaaaa-1 / 0",
        "vm aaaaaaaa-2 / 0",
        "other / 0",
    ]


def test_the_csv_has_a_row_for_each_run() -> None:
    story = Story("1", name='say "hi", twice\nplease')
    out = io.StringIO(newline="")
    write_csv(gather(story.run(0, "FIZZLED", phase="execution", reason="exit code 3")), out)
    (row,) = csv.DictReader(io.StringIO(out.getvalue(), newline=""))
    assert list(row) == list(COLUMNS)
    assert (row["job"], row["state"], row["execution"]) == ("1", "FIZZLED", "7.000000")
    assert row["name"] == 'say "hi", twice\nplease'
    assert (row["input_bytes"], row["started"]) == ("1000", "2023-11-14 22:13:20.000")


def _workflow(times: dict[int, tuple[float, float]], links: dict[int, list[int]]) -> Workflow:
    nodes = {
        fw_id: Node(fw_id=fw_id, name=f"task-{fw_id}", started=began, ended=ended)
        for fw_id, (began, ended) in times.items()
    }
    return Workflow(name="diamond", nodes=nodes, links=links)


def test_the_critical_path_is_what_the_end_waited_for() -> None:
    times = {1: (0.0, 2.0), 2: (2.5, 4.0), 3: (2.5, 9.0), 4: (10.0, 12.0), 5: (2.5, 11.0)}
    path = critical_path(_workflow(times, {1: [2, 3, 5], 2: [4], 3: [4], 4: [], 5: []}))
    assert [(step.node.fw_id, step.waited, step.ran) for step in path] == [
        (1, 0.0, 2.0),
        (3, 0.5, 6.5),
        (4, 1.0, 2.0),
    ]
    assert sum(step.share for step in path) == pytest.approx(1.0)


def test_the_critical_path_stands_broken_links_clocks_and_circles() -> None:
    path = critical_path(_workflow({1: (5.0, 9.0), 2: (3.0, 10.0)}, {1: [2], 2: [1], 7: [1]}))
    assert [(step.node.fw_id, step.waited) for step in path] == [(1, 0.0), (2, 0.0)]
    assert critical_path(_workflow({}, {})) == []
