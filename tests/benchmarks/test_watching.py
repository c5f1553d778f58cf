"""The benchmark of what watching costs, run small on a real MongoDB."""

from __future__ import annotations

from benchmarks.database import bench
from benchmarks.watchers import CASES
from benchmarks.watching import Result, compare, table


def test_jobs_end_and_losses_are_told_without_an_events_topic() -> None:
    cases = {case.name: case for case in CASES}
    with bench() as place:
        none, lost = compare(
            place, [cases["no events"], cases["topic deleted"]], jobs=40, threads=2, rounds=1
        )
    assert none.overheads == [0.0]
    assert none.lost == 0
    assert lost.lost >= 100  # 4 a job, less what went while the dispatcher had mended the topic
    assert lost.seconds > 0
    assert lost.cpu_ms["executor"] > 0


def test_the_table_has_a_line_for_each_case() -> None:
    cpu = {"executor": 1.0, "slots": 2.0, "broker": 0.5, "dispatcher": 7.0}
    lines = table([Result("events", 10.0, 2.5, [2.5, -1.0], cpu, 3)]).splitlines()
    assert lines[1].split() == ["events", "10.00", "+2.5", "3.50", "3", "+2.5", "-1.0"]
