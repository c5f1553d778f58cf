"""The benchmarks of the dispatcher's speed, run small on a real MongoDB."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from benchmarks import claim_query, dispatcher_memory, launchers, throughput, where
from benchmarks.database import Bench, bench
from benchmarks.rates import HEAD, Absent, Rate, text


@pytest.fixture(scope="module")
def place() -> Iterator[Bench]:
    """One MongoDB for the whole file."""
    with bench() as running:
        yield running


def test_a_chain_is_timed_on_running_daemons(place: Bench) -> None:
    rate = launchers.run_daemons(place, "chain", 5, threads=1)
    assert rate.tasks == 5
    assert 0 < rate.steady_seconds < rate.command_seconds + 1
    assert rate.gap_seconds is not None
    assert rate.gap_seconds > 0


def test_a_fan_is_timed_as_a_command(place: Bench) -> None:
    rate = launchers.run_command(place, launchers.RUN, "fan", 4, threads=2)
    assert rate.tasks == 6
    assert 0 < rate.steady_seconds < rate.command_seconds


def test_every_process_and_what_it_asks_is_accounted_for(place: Bench) -> None:
    result = where.measure(place, "bag", 60, threads=2, idle=0.5)
    assert result.jobs == 60
    assert set(result.cpu_ms) == {"broker", "dispatcher", "executor", "slots", "mongod"}
    assert result.cpu_ms["slots"] > 0
    assert result.pubsub["messages published"] >= 3  # the job, and at least its start and end
    assert sum(result.mongodb.values()) > 0
    assert "CPU ms/job" in where.table(result)


def test_the_dispatchers_search_is_found_and_explained(
    capsys: pytest.CaptureFixture[str],
) -> None:
    claim_query.main(["--ready", "300", "--completed", "500", "--rounds", "2", "--json"])
    queries = json.loads(capsys.readouterr().out)
    assert queries
    assert all(query["median_ms"] > 0 and query["plan"] for query in queries)


def test_memory_is_read_after_each_tenth(place: Bench) -> None:
    resident = dispatcher_memory.measure(place, 20, threads=2)
    assert list(resident) == list(range(2, 21, 2))
    assert min(resident.values()) > 10_000_000


def test_a_peer_that_is_not_installed_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(throughput.PEERS, "dask", (("no_such_module",), ("no-such-program",)))
    assert throughput.missing("dask") == ["no_such_module", "no-such-program"]


def test_an_unknown_peer_is_refused_before_anything_is_started() -> None:
    with pytest.raises(SystemExit, match="no peer 'luigi'"):
        throughput.main(["--peers", "rlaunch,luigi"])


def test_a_line_has_rates_gap_and_reason() -> None:
    rate = Rate(
        system="ours",
        shape="chain",
        tasks=100,
        command_seconds=4.0,
        steady_seconds=2.0,
        gap_seconds=0.0125,
    )
    absent = Absent(system="theirs", shape="chain", reason="not installed: theirs")
    assert text(rate).split() == ["chain", "ours", "100", "4.00", "25.0", "50.0", "12.5"]
    assert len(text(rate)) == len(HEAD)
    assert text(absent).endswith("not installed: theirs")
