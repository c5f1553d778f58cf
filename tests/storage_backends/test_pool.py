"""The pool of transfer threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

import pytest

from storage_backends.pool import TransferPool


@pytest.fixture
def pool() -> TransferPool:
    return TransferPool(threads=4)


def test_results_come_in_the_order_of_the_calls(pool: TransferPool) -> None:
    assert pool.run([partial(pow, number, 2) for number in range(200)]) == [
        number**2 for number in range(200)
    ]
    assert pool.run([]) == []


def test_calls_run_side_by_side(pool: TransferPool) -> None:
    together = threading.Barrier(4, timeout=20.0)
    assert sorted(pool.run([together.wait] * 4)) == [0, 1, 2, 3]


def test_no_more_threads_than_asked_for_and_the_caller(pool: TransferPool) -> None:
    threads = pool.run([threading.get_ident] * 500)
    assert len(set(threads)) <= 5


def test_a_call_may_run_calls_of_its_own_on_a_full_pool(pool: TransferPool) -> None:
    def nested(depth: int) -> int:
        return sum(pool.run([partial(nested, depth - 1)] * 5)) if depth else 1

    assert nested(4) == 5**4


def test_batches_take_turns() -> None:
    pool = TransferPool(threads=1)
    gate = threading.Event()
    done: list[str] = []

    def wait() -> None:
        assert gate.wait(20.0)

    long: list[Callable[[], None]] = [wait, *[partial(done.append, "long")] * 100, wait]
    with_long = threading.Thread(target=lambda: pool.run(long))
    with_long.start()
    pool.run([partial(done.append, "short")] * 3)
    assert done.count("short") == 3
    gate.set()
    with_long.join(20.0)
    assert done.count("long") == 100


def test_the_first_error_is_raised_and_no_other_call_is_begun() -> None:
    pool = TransferPool(threads=2)
    begun: list[int] = []

    def call(number: int) -> None:
        begun.append(number)
        if number == 5:
            raise ValueError("five")

    with pytest.raises(ValueError, match="five"):
        pool.run([partial(call, number) for number in range(10_000)])
    assert len(begun) < 10_000


def test_an_error_stops_the_calls_under_way_and_is_the_one_raised(pool: TransferPool) -> None:
    stop, begun = threading.Event(), threading.Barrier(3, timeout=20.0)

    def wait() -> None:
        begun.wait()
        assert stop.wait(20.0)
        raise KeyError("stopped")

    def fail() -> None:
        begun.wait()
        raise ValueError("the reason")

    calls: list[Callable[[], None]] = [wait, fail, wait]
    with pytest.raises(ValueError, match="the reason"):
        pool.run(calls, stop.set)


def test_a_closed_pool_ends_its_threads(pool: TransferPool) -> None:
    threads = pool.run([threading.current_thread] * 100)
    pool.close()
    pool.close()
    for thread in set(threads) - {threading.current_thread()}:
        thread.join(20.0)
        assert not thread.is_alive()
