"""Trying again, and watches that count and stop."""

from __future__ import annotations

import threading
from collections.abc import Callable
from math import inf, nan

import pytest

from messaging.errors import UsageError
from storage_backends.errors import (
    StorageChangedError,
    StorageCorruptError,
    StorageDeniedError,
    StorageError,
    StorageFullError,
    StorageNotFoundError,
    StorageTransientError,
)
from storage_backends.retrying import Retry
from storage_backends.watch import TransferStoppedError, Watch

QUICK = Retry(first=0.001, longest=0.002, deadline=10.0)


def failing(times: int, error: StorageError, moving: int = 0) -> Callable[[Watch], str]:
    left = [times]

    def attempt(watch: Watch) -> str:
        watch.moved(moving)
        if left[0]:
            left[0] -= 1
            raise error
        return "done"

    return attempt


@pytest.mark.parametrize("kind", [StorageTransientError, StorageCorruptError])
def test_what_may_pass_is_tried_again(kind: type[StorageError]) -> None:
    assert QUICK.call(failing(3, kind("later")), Watch()) == "done"


@pytest.mark.parametrize(
    "kind",
    [
        StorageNotFoundError,
        StorageDeniedError,
        StorageChangedError,
        StorageFullError,
        TransferStoppedError,
    ],
)
def test_what_will_not_pass_is_not_tried_again(kind: type[StorageError]) -> None:
    with pytest.raises(kind):
        QUICK.call(failing(1, kind("never")), Watch())


def test_the_last_error_is_raised_at_the_deadline() -> None:
    retry = Retry(first=0.001, longest=0.002, deadline=0.05)
    with pytest.raises(StorageTransientError, match="away"):
        retry.call(failing(10_000, StorageTransientError("away")), Watch())


def test_a_deadline_of_nothing_means_one_attempt() -> None:
    calls = failing(1, StorageTransientError("away"))
    with pytest.raises(StorageTransientError):
        Retry(deadline=0.0).call(calls, Watch())


def test_bytes_that_always_arrive_wrong_are_given_up_before_the_deadline() -> None:
    with pytest.raises(StorageCorruptError):
        QUICK.call(failing(QUICK.corrupt, StorageCorruptError("wrong")), Watch())


def test_bytes_of_failed_attempts_are_not_counted() -> None:
    watch = Watch()
    watch.moved(5)
    QUICK.call(failing(3, StorageTransientError("cut off"), moving=100), watch)
    assert watch.bytes == 105


def test_bytes_that_others_move_meanwhile_are_counted() -> None:
    watch = Watch()

    def attempt(part: Watch) -> None:
        part.moved(7)
        watch.moved(9)
        raise StorageDeniedError("no")

    with pytest.raises(StorageDeniedError):
        QUICK.call(attempt, watch)
    assert watch.bytes == 9


def test_a_stop_ends_the_wait_between_attempts() -> None:
    watch = Watch()
    threading.Timer(0.05, watch.stop).start()
    patient = Retry(first=1000.0, longest=1000.0, deadline=10_000.0)
    with pytest.raises(TransferStoppedError):
        patient.call(failing(1, StorageTransientError("away")), watch)


def test_a_stop_reaches_the_parts_and_not_the_whole() -> None:
    whole = Watch()
    part, other = whole.part(), whole.part()
    part.stop()
    whole.check()
    other.check()
    with pytest.raises(TransferStoppedError):
        part.moved(1)
    deeper = other.part()
    whole.stop()
    for stopped in (other, deeper, whole.part()):
        with pytest.raises(TransferStoppedError):
            stopped.check()
    assert whole.bytes == 1


@pytest.mark.parametrize(
    "seconds", ["120", -1, None, True, nan, inf, -inf, pytest.param(10**400, id="huge")]
)
def test_wrong_retry_seconds_are_a_usage_error(seconds: object) -> None:
    with pytest.raises(UsageError, match="retry_seconds"):
        Retry.of({"retry_seconds": seconds})


def test_retry_seconds_are_the_deadline() -> None:
    assert Retry.of({"retry_seconds": 3}).deadline == 3.0
    assert Retry.of({}).deadline == Retry().deadline == 120.0
