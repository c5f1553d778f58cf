"""The outbox: what must arrive arrives, and nothing else waits for it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import pytest

from executor.outbox import Outbox
from messaging.errors import MessageTooLargeError, NotFoundError, ServiceError
from messaging.pubsub import Outgoing
from tests.waiting import wait_until


class FakeTopics:
    """Records what is published; fails on demand, and can hold a request back."""

    def __init__(self) -> None:
        self.published: list[tuple[str, bytes]] = []
        self.requests = 0
        self.failures: list[Exception] = []
        self.missing: set[str] = set()
        self.gate = threading.Event()
        self.gate.set()

    def publish(self, topic: str, messages: Sequence[Outgoing]) -> None:
        self.requests += 1
        assert self.gate.wait(20)
        if self.failures:
            raise self.failures.pop(0)
        if topic in self.missing:
            raise NotFoundError(f"no topic {topic}")
        if any(message.data == b"huge" for message in messages):
            raise MessageTooLargeError("too large")
        self.published += [(topic, message.data) for message in messages]


@pytest.fixture
def topics() -> FakeTopics:
    return FakeTopics()


@pytest.fixture
def outbox(topics: FakeTopics) -> Iterator[Outbox]:
    outbox = Outbox(topics.publish)
    outbox.start()
    yield outbox
    topics.gate.set()
    outbox.stop(1.0)


def test_what_queues_up_during_a_request_goes_in_one(outbox: Outbox, topics: FakeTopics) -> None:
    topics.gate.clear()
    outbox.send("updates", Outgoing(b"0"))
    wait_until(lambda: topics.requests == 1, what="the first request")
    for number in range(1, 100):
        outbox.send("updates", Outgoing(str(number).encode()))
    topics.gate.set()
    wait_until(lambda: len(topics.published) == 100, what="all")
    assert topics.published == [("updates", str(number).encode()) for number in range(100)]
    assert topics.requests == 2


def test_a_failed_request_is_repeated_until_it_succeeds(outbox: Outbox, topics: FakeTopics) -> None:
    topics.failures = [ServiceError("away"), NotFoundError("no topic"), ServiceError("away")]
    sent = threading.Event()
    outbox.send("updates", Outgoing(b"result"), on_sent=sent.set)
    assert sent.wait(20)
    assert topics.published == [("updates", b"result")]


def test_a_missing_reply_topic_is_final_and_holds_nothing_up(
    outbox: Outbox, topics: FakeTopics
) -> None:
    topics.missing = {"replies"}
    errors: list[Exception] = []
    sent = threading.Event()
    outbox.send("replies", Outgoing(b"a"), on_failed=errors.append, final=(NotFoundError,))
    outbox.send("updates", Outgoing(b"b"), on_sent=sent.set)
    assert sent.wait(20)
    wait_until(lambda: errors, what="the failure")
    assert isinstance(errors[0], NotFoundError)


def test_one_message_that_is_too_large_does_not_stop_the_others(
    outbox: Outbox, topics: FakeTopics
) -> None:
    topics.gate.clear()
    outbox.send("updates", Outgoing(b"first"))
    wait_until(lambda: topics.requests == 1, what="the first request")
    errors: list[Exception] = []
    for data in (b"a", b"huge", b"b"):
        outbox.send("updates", Outgoing(data), on_failed=errors.append)
    topics.gate.set()
    wait_until(lambda: len(topics.published) == 3 and errors, what="the others")
    assert [data for _, data in topics.published] == [b"first", b"a", b"b"]
    assert len(errors) == 1


def test_what_has_time_waits_for_others_but_not_at_the_stop(topics: FakeTopics) -> None:
    outbox = Outbox(topics.publish, patience=lambda: 600.0)
    outbox.start()
    for number in range(5):
        outbox.send("updates", Outgoing(str(number).encode()))
    assert topics.requests == 0
    outbox.stop(20.0)
    assert [data for _, data in topics.published] == [b"0", b"1", b"2", b"3", b"4"]
    assert topics.requests == 1


def test_what_is_sent_later_goes_unless_it_is_withdrawn(outbox: Outbox, topics: FakeTopics) -> None:
    outbox.send_later("one", "updates", Outgoing(b"one"))
    outbox.send_later("two", "updates", Outgoing(b"two"))
    outbox.withdraw("one")
    wait_until(lambda: topics.published, what="the other")
    assert topics.published == [("updates", b"two")]


def test_what_cannot_be_sent_before_the_stop_has_failed(topics: FakeTopics) -> None:
    outbox = Outbox(topics.publish)
    outbox.start()
    topics.missing = {"updates"}
    errors: list[Exception] = []
    outbox.send("updates", Outgoing(b"result"), on_failed=errors.append)
    outbox.stop(0.3)
    assert len(errors) == 1
    assert isinstance(errors[0], ServiceError)


def test_what_is_sent_later_survives_an_outage(outbox: Outbox, topics: FakeTopics) -> None:
    topics.failures = [ServiceError("away"), ServiceError("away")]
    outbox.send_later("one", "updates", Outgoing(b"one"))
    wait_until(lambda: topics.published, what="it")
    assert topics.published == [("updates", b"one")]
    assert topics.requests == 3


def test_what_is_withdrawn_during_an_outage_is_not_sent_after_it(
    outbox: Outbox, topics: FakeTopics
) -> None:
    topics.gate.clear()
    topics.failures = [ServiceError("away")]
    outbox.send_later("one", "updates", Outgoing(b"started"))
    wait_until(lambda: topics.requests == 1, what="the first try")
    outbox.withdraw("one")
    outbox.send("updates", Outgoing(b"finished"))
    topics.gate.set()
    wait_until(lambda: topics.published, what="the other")
    assert topics.published == [("updates", b"finished")]


def test_what_a_failure_sends_in_turn_at_the_stop_fails_too(topics: FakeTopics) -> None:
    outbox = Outbox(topics.publish)
    outbox.start()
    topics.missing = {"updates"}
    errors: list[Exception] = []

    def then(_error: Exception) -> None:
        outbox.send("jobs", Outgoing(b"copy"), on_failed=errors.append)

    outbox.send("updates", Outgoing(b"released"), on_failed=then)
    outbox.stop(0.3)
    assert len(errors) == 1
