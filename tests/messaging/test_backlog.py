"""The state machine of one subscription, by example and by random walks under a fake clock."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from messaging.broker.backlog import Backlog, Delivery, DeliveryPolicy

DEADLINE = 10.0
MANY = 10**6


class FakeClock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Bench:
    """A backlog with a fake clock and a list for its dead letters."""

    def __init__(self, **policy: Any) -> None:
        self.clock = FakeClock()
        self.dead: list[tuple[Any, int]] = []
        self.takes_dead = True
        self.backlog = Backlog(DeliveryPolicy(**policy), self.clock, self._dead_letter)

    def _dead_letter(self, message: Any, attempts: int) -> bool:
        if self.takes_dead:
            self.dead.append((message, attempts))
        return self.takes_dead

    def take(self, limit: int = 1) -> list[Delivery]:
        self.backlog.advance()
        return self.backlog.take(limit, MANY, DEADLINE)

    def one(self) -> Delivery:
        [delivery] = self.take()
        return delivery

    def wait(self, seconds: float) -> None:
        self.clock.now += seconds
        self.backlog.advance()


def test_messages_come_in_the_order_they_were_published() -> None:
    bench = Bench()
    for name in "abc":
        bench.backlog.add(name, 1)
    assert [delivery.message for delivery in bench.take(10)] == ["a", "b", "c"]


def test_a_delivery_stops_at_the_bytes_asked_for() -> None:
    bench = Bench()
    for name in "abc":
        bench.backlog.add(name, 100)
    assert len(bench.backlog.take(10, 150, DEADLINE)) == 2
    assert len(bench.backlog.take(10, 1, DEADLINE)) == 1


def test_the_next_due_moment_is_the_earliest_deadline() -> None:
    bench = Bench()
    bench.backlog.add("a", 1)
    assert bench.backlog.next_due() is None
    held = bench.one()
    assert bench.backlog.next_due() == bench.clock.now + DEADLINE
    bench.backlog.extend([held.ack_id], 3)
    assert bench.backlog.next_due() == bench.clock.now + 3
    bench.backlog.ack([held.ack_id])
    assert bench.backlog.next_due() is None


def test_backoff_doubles_from_the_minimum_to_the_maximum() -> None:
    bench = Bench(min_backoff=2, max_backoff=7)
    bench.backlog.add("a", 1)
    for expected in (2, 4, 7, 7):
        bench.backlog.extend([bench.one().ack_id], 0)
        bench.wait(expected - 0.01)
        assert not bench.backlog.ready
        bench.wait(0.02)
        assert bench.backlog.ready


def test_what_is_given_back_counts_no_attempt_and_comes_first() -> None:
    bench = Bench(max_attempts=5)
    for name in "abc":
        bench.backlog.add(name, 1)
    taken = bench.take(2)
    bench.backlog.give_back([delivery.ack_id for delivery in taken])
    again = bench.take(3)
    assert {delivery.message for delivery in again} == {"a", "b", "c"}
    assert [delivery.attempt for delivery in again] == [1, 1, 1]
    assert bench.backlog.ack([taken[0].ack_id]) == [taken[0].ack_id]


def test_a_message_that_is_always_nacked_does_not_starve_the_others() -> None:
    bench = Bench()
    bench.backlog.add("poison", 1)
    bench.backlog.add("good", 1)
    seen = []
    for _ in range(4):
        delivery = bench.one()
        seen.append(delivery.message)
        bench.backlog.extend([delivery.ack_id], 0)
    assert "good" in seen


def test_a_message_is_dead_after_exactly_its_attempts() -> None:
    bench = Bench(max_attempts=5)
    bench.backlog.add("poison", 1)
    for attempt in range(1, 6):
        assert bench.dead == []
        delivery = bench.one()
        assert delivery.attempt == attempt
        if attempt % 2:
            bench.backlog.extend([delivery.ack_id], 0)
        else:
            bench.wait(DEADLINE)
    assert bench.dead == [("poison", 5)]
    assert bench.take() == []


def test_without_its_dead_letter_topic_a_message_goes_on_circulating() -> None:
    bench = Bench(max_attempts=2)
    bench.takes_dead = False
    bench.backlog.add("a", 1)
    for attempt in (1, 2, 3):
        delivery = bench.one()
        assert delivery.attempt == attempt
        bench.backlog.extend([delivery.ack_id], 0)


def test_a_message_past_its_retention_is_dropped() -> None:
    bench = Bench(retention=600)
    bench.backlog.add("old", 1)
    bench.wait(601)
    assert bench.take() == []
    bench.backlog.add("new", 1)
    assert bench.one().message == "new"


def test_flow_control_hears_of_every_message_that_leaves() -> None:
    class Holder:
        held = 0

        def released(self, size: int) -> None:
            self.held -= size

    bench, holder = Bench(), Holder()
    for _ in range(4):
        bench.backlog.add("m", 10)
    acked, nacked, expired, returned = bench.backlog.take(4, MANY, DEADLINE, holder)
    holder.held = 40
    bench.backlog.ack([acked.ack_id])
    bench.backlog.extend([nacked.ack_id], 0)
    bench.backlog.give_back([returned.ack_id])
    assert holder.held == 10
    bench.wait(DEADLINE)
    assert holder.held == 0
    assert bench.backlog.ack([expired.ack_id]) == [expired.ack_id]


def test_a_hundred_thousand_acked_messages_leave_nothing_behind() -> None:
    bench = Bench()
    for number in range(100_000):
        bench.backlog.add(number, 1)
        bench.backlog.ack([bench.one().ack_id])
    assert bench.backlog.outstanding == 0
    assert bench.backlog.next_due() is None


class SubscriptionWalk(RuleBasedStateMachine):
    """Publishing, pulling, acking, extending, nacking and waiting, in any order.

    The model: each message is waiting, held by its latest ack id until a moment, acked or dead.
    """

    MAX_ATTEMPTS = 3

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench(max_attempts=self.MAX_ATTEMPTS, min_backoff=1, max_backoff=4)
        self.published = 0
        self.attempts: dict[int, int] = {}
        self.held: dict[str, tuple[int, float]] = {}
        self.stale: list[str] = []
        self.acked: set[int] = set()

    @rule(count=st.integers(1, 3))
    def publish(self, count: int) -> None:
        for _ in range(count):
            self.bench.backlog.add(self.published, 1)
            self.attempts[self.published] = 0
            self.published += 1

    @rule(limit=st.integers(1, 3))
    def pull(self, limit: int) -> None:
        self._expire()
        for delivery in self.bench.take(limit):
            message = delivery.message
            assert message not in self.acked, "acked messages never come again"
            assert message not in {held for held, _ in self.held.values()}, "one holder at a time"
            self.attempts[message] += 1
            assert delivery.attempt == self.attempts[message] <= self.MAX_ATTEMPTS
            self.held[delivery.ack_id] = (message, self.bench.clock.now + DEADLINE)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def ack(self, data: st.DataObject) -> None:
        self._expire()
        if self.held:
            ack_id = data.draw(st.sampled_from(sorted(self.held)))
            assert self.bench.backlog.ack([ack_id]) == []
            self.acked.add(self._let_go(ack_id))

    @precondition(lambda self: self.held)
    @rule(data=st.data(), seconds=st.sampled_from([0.0, 1.0, 5.0, 30.0]))
    def extend(self, data: st.DataObject, seconds: float) -> None:
        self._expire()
        if self.held:
            ack_id = data.draw(st.sampled_from(sorted(self.held)))
            assert self.bench.backlog.extend([ack_id], seconds) == []
            if seconds:
                self.held[ack_id] = (self.held[ack_id][0], self.bench.clock.now + seconds)
            else:
                self._let_go(ack_id)

    @rule()
    def fail_everything(self) -> None:
        """Nack all that is held, wait out every backoff, and take it all again."""
        self._expire()
        for ack_id in sorted(self.held):
            assert self.bench.backlog.extend([ack_id], 0) == []
            self._let_go(ack_id)
        self.bench.clock.now += 4.0
        self.pull(10)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        self._expire()
        if self.held:
            ack_id = data.draw(st.sampled_from(sorted(self.held)))
            self.bench.backlog.give_back([ack_id])
            self.attempts[self._let_go(ack_id)] -= 1

    @precondition(lambda self: self.stale)
    @rule(data=st.data(), seconds=st.sampled_from([0.0, 600.0]))
    def use_a_stale_id(self, data: st.DataObject, seconds: float) -> None:
        self._expire()
        ack_id = data.draw(st.sampled_from(self.stale))
        assert self.bench.backlog.ack([ack_id]) == [ack_id]
        assert self.bench.backlog.extend([ack_id], seconds) == [ack_id]

    @rule(seconds=st.sampled_from([0.5, 1.0, 4.0, 9.99, 10.0, 31.0]))
    def wait(self, seconds: float) -> None:
        self.bench.clock.now += seconds
        self._expire()

    @invariant()
    def held_messages_are_outstanding(self) -> None:
        self._expire()
        assert self.bench.backlog.outstanding == len(self.held)

    @invariant()
    def only_messages_that_failed_often_enough_are_dead(self) -> None:
        self._expire()
        for message, attempts in self.bench.dead:
            assert attempts == self.MAX_ATTEMPTS == self.attempts[message]
        assert len({message for message, _ in self.bench.dead}) == len(self.bench.dead)

    def teardown(self) -> None:
        """Whatever happened: in the end each message is acked or dead, and none is lost."""
        for _ in range(20 * (self.published + 1)):
            self.bench.wait(5.0)
            self._expire()
            self.pull(3)
            for ack_id in sorted(self.held):
                assert self.bench.backlog.ack([ack_id]) == []
                self.acked.add(self._let_go(ack_id))
        dead = {message for message, _ in self.bench.dead}
        assert self.acked | dead == set(range(self.published))
        assert not self.acked & dead

    def _expire(self) -> None:
        self.bench.backlog.advance()
        for ack_id, (_, until) in list(self.held.items()):
            if until <= self.bench.clock.now:
                self._let_go(ack_id)

    def _let_go(self, ack_id: str) -> int:
        self.stale.append(ack_id)
        return self.held.pop(ack_id)[0]


SubscriptionWalk.TestCase.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None
)
TestSubscriptionWalk = SubscriptionWalk.TestCase
