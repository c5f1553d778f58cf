"""Leases: extended in time, lost in time, settled once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from messaging.errors import ServiceError, UsageError
from messaging.leases import Lease, LeaseKeeper
from messaging.pubsub import Received
from tests.waiting import wait_until

SUBSCRIPTION = "jobs"
LEASE = 60.0


class FakeService:
    """Records what a keeper asks for; fails, or takes time, on demand."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.acked: list[str] = []
        self.extended: list[list[str]] = []
        self.given_back: list[str] = []
        self.failures: list[Exception] = []
        self.refused: set[str] = set()
        self.call_seconds = 0.0

    def acknowledge(self, subscription: str, ack_ids: Sequence[str]) -> None:
        self._maybe_fail(subscription, ack_ids)
        self.acked += ack_ids

    def extend(self, subscription: str, ack_ids: Sequence[str], seconds: float) -> None:
        self._maybe_fail(subscription, ack_ids)
        self.now += self.call_seconds
        if seconds:
            self.extended.append(list(ack_ids))
        else:
            self.given_back += ack_ids

    def _maybe_fail(self, subscription: str, ack_ids: Sequence[str]) -> None:
        assert subscription == SUBSCRIPTION
        if self.failures:
            raise self.failures.pop(0)
        if self.refused & set(ack_ids):
            raise UsageError("bad ack id")


@pytest.fixture
def service() -> FakeService:
    return FakeService()


@pytest.fixture
def lost() -> list[Lease]:
    return []


@pytest.fixture
def keeper(service: FakeService, lost: list[Lease]) -> LeaseKeeper:
    """A keeper without its threads: the test is all three."""
    return LeaseKeeper(service, SUBSCRIPTION, LEASE, on_lost=lost.append, clock=lambda: service.now)


def message(ack_id: str, message_id: str = "m1") -> Received:
    return Received(ack_id, b"", {}, message_id, 0.0, 1)


def test_a_short_job_costs_no_extension(keeper: LeaseKeeper, service: FakeService) -> None:
    lease = keeper.hold("job", message("a"))
    service.now += 2.9
    assert keeper.extend_due()
    keeper.acknowledge(lease)
    assert keeper.settle()
    assert service.extended == []
    assert service.acked == ["a"]


def test_a_lease_is_extended_early_and_then_every_third_of_its_time(
    keeper: LeaseKeeper, service: FakeService
) -> None:
    keeper.hold("job", message("a"))
    moments = []
    for _ in range(100):
        service.now += 1
        before = len(service.extended)
        keeper.extend_due()
        if len(service.extended) > before:
            moments.append(service.now - 1000)
    assert moments == [3, 23, 43, 63, 83]


def test_all_due_leases_are_extended_in_one_call(keeper: LeaseKeeper, service: FakeService) -> None:
    for number in range(5):
        keeper.hold(f"job {number}", message(f"a{number}", f"m{number}"))
    service.now += 5
    assert keeper.extend_due()
    assert [sorted(ids) for ids in service.extended] == [["a0", "a1", "a2", "a3", "a4"]]


def test_a_fresh_lease_is_trusted_only_for_the_shortest_deadline_of_pubsub(
    keeper: LeaseKeeper, service: FakeService
) -> None:
    lease = keeper.hold("job", message("a"))
    service.now += 9.9
    assert keeper.is_held(lease)
    service.now += 0.2
    assert not keeper.is_held(lease)


def test_a_lease_counts_from_the_moment_before_its_extension_was_sent(
    keeper: LeaseKeeper, service: FakeService
) -> None:
    lease = keeper.hold("job", message("a"))
    service.now += 4
    service.call_seconds = 5.0
    assert keeper.extend_due()
    service.call_seconds = 0.0
    service.now = 1000 + 4 + LEASE - 0.1
    assert keeper.is_held(lease)
    service.now += 0.2
    assert not keeper.is_held(lease)


def test_a_lease_that_could_not_be_extended_in_time_is_lost_and_told_of_once(
    keeper: LeaseKeeper, service: FakeService, lost: list[Lease]
) -> None:
    lease = keeper.hold("job", message("a"))
    service.failures = [ServiceError("away")] * 100
    for _ in range(9):
        service.now += 1
        keeper.extend_due()
        keeper.expire()
    assert lost == []
    for _ in range(3):
        service.now += 1
        keeper.extend_due()
        keeper.expire()
    assert lost == [lease]
    service.failures = []
    assert keeper.extend_due()
    assert service.extended == []
    assert not keeper.is_held(lease)


def test_a_lease_that_ran_out_is_not_revived_by_a_late_extension(
    keeper: LeaseKeeper, service: FakeService, lost: list[Lease]
) -> None:
    slept_through = keeper.hold("machine was suspended", message("a", "m1"))
    service.now += 500
    assert keeper.extend_due()
    assert service.extended == []
    assert not keeper.is_held(slept_through)
    answered_late = keeper.hold("call took too long", message("b", "m2"))
    service.now += 4
    service.call_seconds = 8
    keeper.extend_due()
    assert service.extended == [["b"]]
    assert not keeper.is_held(answered_late)
    keeper.expire()
    assert set(lost) == {slept_through, answered_late}


def test_an_outage_shorter_than_the_lease_loses_nothing(
    keeper: LeaseKeeper, service: FakeService, lost: list[Lease]
) -> None:
    lease = keeper.hold("job", message("a"))
    service.now += 4
    keeper.extend_due()
    service.failures = [ServiceError("away")] * 3
    for _ in range(5):
        service.now += 10
        keeper.extend_due()
        keeper.expire()
    assert lost == []
    assert keeper.is_held(lease)


def test_one_bad_ack_id_costs_no_other_job_its_lease(
    keeper: LeaseKeeper, service: FakeService, lost: list[Lease]
) -> None:
    good, bad = keeper.hold("good", message("a", "m1")), keeper.hold("bad", message("b", "m2"))
    service.refused = {"b"}
    service.now += 5
    assert not keeper.extend_due()
    service.now += 10
    keeper.expire()
    assert keeper.is_held(good)
    assert lost == [bad]


def test_the_second_delivery_of_a_message_replaces_its_ack_id(
    keeper: LeaseKeeper, service: FakeService
) -> None:
    lease = keeper.hold("job", message("old"))
    assert keeper.adopt(lease, message("new"))
    service.now += 4
    keeper.extend_due()
    keeper.acknowledge(lease)
    keeper.settle()
    assert service.extended == [["new"]]
    assert service.acked == ["new"]


def test_a_job_published_twice_is_extended_and_acked_in_both_messages(
    keeper: LeaseKeeper, service: FakeService
) -> None:
    lease = keeper.hold("job", message("a", "m1"))
    assert keeper.adopt(lease, message("b", "m2"))
    service.now += 4
    keeper.extend_due()
    keeper.acknowledge(lease)
    keeper.settle()
    assert service.extended == [["a", "b"]]
    assert service.acked == ["a", "b"]


def test_a_lost_lease_adopts_nothing(
    keeper: LeaseKeeper, service: FakeService, lost: list[Lease]
) -> None:
    lease = keeper.hold("job", message("a"))
    service.now += 11
    keeper.expire()
    assert lost == [lease]
    assert not keeper.adopt(lease, message("b"))


def test_a_lease_is_settled_once(keeper: LeaseKeeper, service: FakeService) -> None:
    lease = keeper.hold("job", message("a"))
    keeper.give_back(lease)
    keeper.acknowledge(lease)
    keeper.settle()
    assert service.given_back == ["a"]
    assert service.acked == []


def test_a_lease_let_go_is_neither_extended_nor_acked_nor_given_back(
    keeper: LeaseKeeper, service: FakeService, lost: list[Lease]
) -> None:
    keeper.let_go(keeper.hold("job", message("a")))
    service.now += 100
    keeper.extend_due()
    keeper.expire()
    keeper.settle()
    assert (service.acked, service.given_back, service.extended, lost) == ([], [], [], [])


def test_an_ack_that_failed_is_sent_again(keeper: LeaseKeeper, service: FakeService) -> None:
    keeper.acknowledge(keeper.hold("job", message("a")))
    keeper.give_back_message(message("b"))
    service.failures = [ServiceError("away")]
    assert not keeper.settle()
    assert keeper.settle()
    assert service.acked == ["a"]
    assert service.given_back == ["b"]


def test_the_threads_do_the_same_by_themselves(service: FakeService, lost: list[Lease]) -> None:
    keeper = LeaseKeeper(
        service, SUBSCRIPTION, LEASE, on_lost=lost.append, clock=lambda: service.now
    )
    keeper.start()
    held = keeper.hold("held", message("a", "m1"))
    service.now += 4
    wait_until(lambda: service.extended == [["a"]], what="extension")
    keeper.acknowledge(held)
    wait_until(lambda: service.acked == ["a"], what="ack")
    service.failures = [ServiceError("away")] * 1000
    gone = keeper.hold("gone", message("b", "m2"))
    service.now += 11
    wait_until(lambda: lost == [gone], what="loss")
    keeper.stop()


def test_stopping_sends_what_is_queued(service: FakeService, lost: list[Lease]) -> None:
    make: Callable[[], LeaseKeeper] = lambda: LeaseKeeper(  # noqa: E731 - one line says it
        service, SUBSCRIPTION, LEASE, on_lost=lost.append, clock=lambda: service.now
    )
    for number in range(20):
        keeper = make()
        keeper.start()
        keeper.acknowledge(keeper.hold("job", message(f"a{number}")))
        keeper.stop()
    assert service.acked == [f"a{number}" for number in range(20)]


def test_one_bad_ack_id_costs_no_other_message_its_ack(
    keeper: LeaseKeeper, service: FakeService
) -> None:
    service.refused = {"b", "e"}
    for number, ack_id in enumerate("abc"):
        keeper.acknowledge(keeper.hold("job", message(ack_id, f"m{number}")))
    for ack_id in "def":
        keeper.give_back_message(message(ack_id))
    assert keeper.settle()
    assert service.acked == ["a", "c"]
    assert service.given_back == ["d", "f"]
