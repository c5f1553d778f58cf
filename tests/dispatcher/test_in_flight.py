"""The table of what is on its way."""

from __future__ import annotations

from dispatcher.in_flight import InFlight, InFlightTable


def _entry(launch_id: int = 1, **fields: object) -> InFlight:
    values = {"job": f"job-{launch_id}", "fw_id": launch_id, "attempt": 1, **fields}
    return InFlight(launch_id=launch_id, **values)  # type: ignore[arg-type]


def _table(*entries: InFlight) -> InFlightTable:
    table = InFlightTable()
    for entry in entries:
        table.add(entry)
    return table


def test_an_entry_is_replaced_by_one_of_the_same_launch() -> None:
    table = _table(_entry(), _entry(attempt=2), _entry(2))
    assert sorted((entry.launch_id, entry.attempt) for entry in table) == [(1, 2), (2, 1)]
    assert (1 in table, 3 in table, len(table)) == (True, False, 2)


def test_without_a_loss_nothing_is_lost_however_silent() -> None:
    table = _table(_entry(), _entry(2, running=True))
    assert table.lost(now=1e9, silence=1.0) == []


def test_after_a_loss_what_waited_is_lost_at_once_and_what_runs_after_its_silence() -> None:
    table = _table(_entry(), _entry(2, running=True))
    table.suspect_all(now=100.0)
    assert [entry.launch_id for entry in table.lost(100.0, silence=5.0)] == [1]
    assert len(table.lost(106.0, silence=5.0)) == 2


def test_who_is_heard_of_is_not_lost() -> None:
    table = _table(_entry(), _entry(2, running=True))
    table.suspect_all(now=100.0)
    table.hear(1, 1, 101.0, running=True, executor="e1")
    table.hear(3, 1, 101.0, running=True, executor="e1")
    assert [entry.launch_id for entry in table.lost(200.0, silence=5.0)] == [2]
    assert len(table) == 2


def test_an_older_attempt_speaks_only_for_itself() -> None:
    table = _table(_entry(attempt=2))
    table.suspect_all(now=100.0)
    table.hear(1, 1, 101.0, running=True, executor="e1")
    assert len(table.lost(101.0, silence=5.0)) == 1
    assert not table.drop(1, attempt=1)
    assert table.drop(1, attempt=2)
    assert not table.drop(1, attempt=2)
    assert table.discard(1) is None


def test_an_older_attempts_late_word_does_not_end_the_silence_of_a_newer_one() -> None:
    table = _table(_entry(attempt=2, running=True, heard=100.0))
    table.hear(1, 1, 200.0, running=True, executor="e1")
    assert [entry.launch_id for entry in table.silent(201.0, silence=50.0)] == [1]
    table.hear(1, 2, 200.0, running=True, executor="e2")
    assert table.silent(201.0, silence=50.0) == []


def test_one_who_gives_a_job_back_may_have_published_it_before_the_loss() -> None:
    table = _table(_entry(running=True))
    table.suspect_all(now=100.0)
    table.hear(1, 1, 101.0, running=False, executor="e1")
    assert len(table.lost(101.0, silence=5.0)) == 1


def test_the_first_word_that_is_read_may_be_of_an_older_attempt() -> None:
    table = _table(_entry(attempt=2))
    table.suspect_all(now=100.0)
    table.read(1, "12:00:00", 101.0)
    assert (table.lost(102.0, silence=5.0), len(table.lost(107.0, silence=5.0))) == ([], 1)
    table.read(1, "12:00:30", 130.0)
    assert table.lost(200.0, silence=5.0) == []


def test_a_release_is_overtaken_only_by_another_executors_start() -> None:
    table = _table(_entry())
    assert not table.runs_elsewhere(1, "e1")
    table.hear(1, 1, 100.0, running=True, executor="e2")
    assert table.runs_elsewhere(1, "e1")
    assert not table.runs_elsewhere(1, "e2")
    table.hear(1, 1, 101.0, running=False, executor="e2")
    assert not table.runs_elsewhere(1, "e1")


def test_what_was_said_before_the_release_is_overtaken_by_it() -> None:
    table = _table(_entry())
    table.hear(1, 1, 100.0, running=True, executor="e1")
    assert not table.is_overtaken(1, "e1", 50.0)
    table.release(1, "e1", 60.0)
    assert table.is_overtaken(1, "e1", 59.0)
    assert not table.is_overtaken(1, "e1", 61.0)
    # Clocks of different executors are not compared.
    assert not table.is_overtaken(1, "e2", 59.0)
