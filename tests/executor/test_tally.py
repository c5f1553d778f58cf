"""From readings to the summary of an execution."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from executor import tally
from executor.tally import Tally
from executor.usage import Usage


class Clock:
    """Stands for `time.monotonic`."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(tally, "time", clock)
    return clock


def test_peaks_and_means_are_weighed_by_time(clock: Clock) -> None:
    counts = Tally(Usage(5.0, 999, {"read": 100}))
    for seconds, cpu, memory in [(2, 6.0, 100), (2, 10.0, 300), (4, 10.0, 200)]:
        clock.now += seconds
        counts.add(Usage(cpu, memory, {"read": 100 + int(cpu)}))
    clock.now += 2
    assert counts.end(Usage(10.5, 0, {"read": 200, "written": 7})) == {
        "cpu_seconds": 5.5,
        "cpu_mean": 0.55,
        "cpu_peak": 2.0,
        "memory": 300,
        "memory_mean": 200,
        "read": 100,
        "written": 7,
    }


def test_what_was_not_sampled_has_no_means(clock: Clock) -> None:
    counts = Tally()
    clock.now += 0.5
    assert counts.add(Usage(0.1, 50)) is None
    assert counts.end(Usage(0.2, 0)) == {"cpu_seconds": 0.2, "memory": 50}


def test_samples_are_two_seconds_apart(clock: Clock) -> None:
    counts = Tally()
    samples: list[dict[str, Any]] = []
    for _ in range(100):
        clock.now += 0.1
        sample = counts.add(Usage(clock.now - 1000.0, 7, {"read": 3}))
        if sample:
            samples.append(sample)
    assert len(samples) == 5
    assert samples[-1]["cpu"] == pytest.approx(1.0)
    assert samples[-1]["memory"] == 7
    assert samples[-1]["read"] == 3
    times = [sample["time"] for sample in samples]
    assert times == sorted(times)


readings = st.builds(
    Usage,
    st.floats(0, 1e6),
    st.integers(0, 2**50),
    st.dictionaries(st.sampled_from(["read", "written"]), st.integers(0, 2**60)),
)


@given(readings, st.lists(st.tuples(st.floats(0, 100), readings)), readings)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_counters_that_go_back_never_make_a_figure_negative(
    clock: Clock, before: Usage, looks: list[tuple[float, Usage]], last: Usage
) -> None:
    """A process that ends unseen takes its counters with it."""
    counts = Tally(before)
    highest = 0
    for seconds, usage in looks:
        clock.now += seconds
        counts.add(usage)
        highest = max(highest, usage.memory)
    clock.now += 0.001
    metrics = counts.end(last)
    assert all(value >= 0 for value in metrics.values())
    assert metrics.get("memory", 0) == max(highest, last.memory)
    assert metrics.get("memory_mean", 0) <= highest + 1
    assert metrics.get("cpu_peak", 0) >= metrics.get("cpu_mean", 0)
