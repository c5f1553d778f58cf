"""Publishing in the background: at once when idle, together when busy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest

from messaging.errors import NotFoundError, ServiceError
from messaging.publisher import BatchPublisher
from messaging.pubsub import Outgoing
from tests.waiting import wait_until


class Topic:
    """Records the requests; fails on demand."""

    def __init__(self) -> None:
        self.requests: list[list[bytes]] = []
        self.failures: list[Exception] = []

    def publish(self, _topic: str, messages: Sequence[Outgoing]) -> None:
        self.requests.append([message.data for message in messages])
        if self.failures:
            raise self.failures.pop(0)


@pytest.fixture
def topic() -> Topic:
    return Topic()


def publisher_to(topic: Topic, **settings: Any) -> BatchPublisher[Outgoing]:
    return BatchPublisher(cast(Any, topic), "events", _as_it_is, **settings)


def _as_it_is(message: Outgoing) -> Outgoing | None:
    return message if message.data else None


def test_the_first_leaves_at_once_and_the_next_wait_for_each_other(topic: Topic) -> None:
    publisher = publisher_to(topic, linger=600.0)
    publisher.put(Outgoing(b"0"))
    wait_until(lambda: topic.requests == [[b"0"]], what="the first")
    for number in range(1, 6):
        publisher.put(Outgoing(str(number).encode()))
    assert len(topic.requests) == 1
    assert publisher.flush(20)
    assert topic.requests == [[b"0"], [b"1", b"2", b"3", b"4", b"5"]]
    publisher.put(Outgoing(b"6"))
    publisher.stop(20)
    assert topic.requests[2:] == [[b"6"]]


def test_nobody_waits_for_longer_than_the_linger(topic: Topic) -> None:
    publisher = publisher_to(topic, linger=0.05)
    for number in range(3):
        publisher.put(Outgoing(b"x"))
        wait_until(lambda: len(topic.requests) > number, what="the request")  # noqa: B023 - at once
    publisher.stop()


def test_a_full_batch_does_not_wait(topic: Topic) -> None:
    publisher = publisher_to(topic, linger=600.0)
    publisher.put(Outgoing(b"first"))
    wait_until(lambda: len(topic.requests) == 1, what="the first")
    for _ in range(1000):
        publisher.put(Outgoing(b"x"))
    wait_until(lambda: len(topic.requests) == 2, what="the batch")
    publisher.stop()


def test_what_is_lost_is_counted(topic: Topic) -> None:
    publisher = publisher_to(topic, linger=0.0)
    topic.failures = [NotFoundError("no topic")]
    publisher.put(Outgoing(b"a"))
    wait_until(lambda: publisher.dropped == 1, what="the loss")
    publisher.put(Outgoing(b"b"))
    assert publisher.flush(20)
    publisher.stop()
    publisher.put(Outgoing(b"c"))
    assert publisher.dropped == 2


def test_what_cannot_be_packed_or_is_too_large_costs_nobody_else(topic: Topic) -> None:
    publisher = publisher_to(topic, linger=0.0)
    for data in (b"", b"x" * 10_000_001, b"a"):
        publisher.put(Outgoing(data))
    assert publisher.flush(20)
    assert publisher.dropped == 2
    assert [data for request in topic.requests for data in request] == [b"a"]
    publisher.stop()


def test_an_outage_keeps_the_order_and_leaves_out_the_oldest_that_wait(topic: Topic) -> None:
    publisher = publisher_to(topic, linger=0.0, max_queue=3)
    topic.failures = [ServiceError("away")]
    publisher.put(Outgoing(b"in hand"))
    wait_until(lambda: topic.requests, what="the first try")
    for number in range(5):
        publisher.put(Outgoing(str(number).encode()))
    assert publisher.flush(20)
    assert publisher.dropped == 2
    sent = [data for request in topic.requests[1:] for data in request]
    assert sent == [b"in hand", b"2", b"3", b"4"]
    publisher.stop()


def test_what_is_left_at_a_stop_is_counted(topic: Topic) -> None:
    publisher = publisher_to(topic, linger=0.0)
    topic.failures = [ServiceError("away") for _ in range(1000)]
    for _ in range(3):
        publisher.put(Outgoing(b"x"))
    publisher.stop(0.1)
    assert publisher.dropped == 3


def test_large_messages_go_in_several_requests(topic: Topic) -> None:
    publisher = publisher_to(topic, linger=600.0)
    publisher.put(Outgoing(b"first"))
    wait_until(lambda: len(topic.requests) == 1, what="the first")
    for _ in range(5):
        publisher.put(Outgoing(b"x" * 2_000_000))
    assert publisher.flush(20)
    assert [len(request) for request in topic.requests] == [1, 2, 2, 1]
    publisher.stop()
