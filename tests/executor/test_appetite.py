"""How much an executor pulls: no more than it has slots, but of jobs that are known to be short."""

from __future__ import annotations

import pytest

from executor.appetite import AHEAD_SECONDS, CAREFUL_SECONDS, Appetite


class Clock:
    """A clock that the test turns."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def appetite(clock: Clock) -> Appetite:
    return Appetite(2, clock)


def pull_all(appetite: Appetite, free: int, pulls: int = 20) -> list[int]:
    """What so many pulls ask for, each of which brings all of it."""
    asked = []
    for _ in range(pulls):
        asked.append(appetite.wants(free))
        appetite.got(asked[-1], asked[-1])
    return asked


def run(appetite: Appetite, seconds: float, times: int = 50) -> None:
    for _ in range(times):
        appetite.ran(seconds)


def test_of_jobs_that_nobody_knows_only_what_slots_are_free_for_is_pulled(
    appetite: Appetite,
) -> None:
    assert set(pull_all(appetite, 2)) == {2}
    run(appetite, 0.001, times=3)
    assert set(pull_all(appetite, 1)) == {1}


def test_of_short_jobs_more_is_pulled_by_and_by(appetite: Appetite) -> None:
    run(appetite, 0.01)
    asked = pull_all(appetite, 1)
    assert asked[:4] == [1, 2, 3, 5]
    assert asked[-1] > 10


@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.004, 0.02, 0.05, 0.09, 0.3])
def test_what_waits_is_done_soon(appetite: Appetite, seconds: float) -> None:
    run(appetite, seconds)
    ahead = pull_all(appetite, 2)[-1] - 2
    assert ahead * seconds / 2 <= AHEAD_SECONDS + 1e-9


def test_one_long_job_ends_it_for_a_while(appetite: Appetite) -> None:
    run(appetite, 0.001)
    assert pull_all(appetite, 1)[-1] > 1
    appetite.ran(30.0)
    assert set(pull_all(appetite, 1)) == {1}
    run(appetite, 0.001, times=10)
    assert set(pull_all(appetite, 1)) == {1}


def test_where_there_is_not_plenty_nobody_takes_more_than_his_share(appetite: Appetite) -> None:
    run(appetite, 0.001)
    asked = pull_all(appetite, 1)[-1]
    appetite.got(asked, asked - 1)
    assert appetite.wants(1) == 1


def test_after_a_job_that_came_back_nothing_is_fetched_with_another(
    appetite: Appetite, clock: Clock
) -> None:
    run(appetite, 0.001)
    assert pull_all(appetite, 1)[-1] > 1
    appetite.beware()
    assert set(pull_all(appetite, 1)) == {1}
    clock.now += CAREFUL_SECONDS + 1
    assert pull_all(appetite, 1)[-1] > 1
