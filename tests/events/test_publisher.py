"""Publishing events never hinders a job, and what is lost is counted."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from events.publisher import EventPublisher
from events.types import Event, JobEvent, JobFinished, decode
from messaging.broker import Broker
from messaging.errors import ServiceError
from messaging.names import Names
from messaging.pubsub import PubSub
from messaging.settings import PubSubSettings
from tests.waiting import wait_until


@pytest.fixture
def publisher(pubsub: PubSub, names: Names) -> Iterator[EventPublisher]:
    publisher = EventPublisher(pubsub, names, "exec-1")
    yield publisher
    publisher.close(1.0)


@pytest.fixture
def topic(pubsub: PubSub, names: Names) -> str:
    pubsub.create_topic(names.events)
    pubsub.create_subscription("watch-" + names.prefix, names.events)
    return names.events


def received(pubsub: PubSub, names: Names, count: int) -> list[Event]:
    """Exactly `count` events from the topic."""
    found: list[Event] = []
    deadline = time.monotonic() + 20
    while len(found) < count and time.monotonic() < deadline:
        messages = pubsub.pull("watch-" + names.prefix, 100, 1.0)
        pubsub.acknowledge("watch-" + names.prefix, [message.ack_id for message in messages])
        for message in messages:
            event = decode(message.data)
            assert message.attributes == event.attributes()
            found.append(event)
    assert len(found) == count
    return found


def topic_made(pubsub: PubSub, names: Names) -> bool:
    try:
        pubsub.create_topic(names.events)
        pubsub.create_subscription("watch-" + names.prefix, names.events)
    except ServiceError:
        return False
    return True


@pytest.mark.usefixtures("topic")
def test_an_event_arrives_with_executor_time_and_place(
    publisher: EventPublisher, pubsub: PubSub, names: Names
) -> None:
    before = time.time()
    publisher.publish("executor.ready", threads=4)
    publisher.publish("job.started", id="a", thread=1, name="split")
    publisher.publish("job.started", id="b", timestamp=12.5)
    publisher.publish("job.finished", id="a", state="COMPLETED")
    ready, a1, b1, a2 = received(pubsub, names, 4)
    assert ready.executor == "exec-1"
    assert before <= ready.timestamp <= time.time()
    assert b1.timestamp == 12.5
    assert isinstance(a1, JobEvent)
    assert isinstance(b1, JobEvent)
    assert isinstance(a2, JobFinished)
    assert (a1.seq, a2.seq, b1.seq) == (1, 2, 1)
    assert len({event.event_id for event in (ready, a1, b1, a2)}) == 4


@pytest.mark.usefixtures("topic")
def test_sequence_numbers_have_no_gap_under_many_threads(
    publisher: EventPublisher, pubsub: PubSub, names: Names
) -> None:
    def publish() -> None:
        for _ in range(50):
            publisher.publish("job.started", id="a")

    threads = [threading.Thread(target=publish) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    events = received(pubsub, names, 200)
    by_number = sorted((e.seq or 0, e.timestamp) for e in events if isinstance(e, JobEvent))
    assert [seq for seq, _ in by_number] == list(range(1, 201))
    times = [moment for _, moment in by_number]
    assert times == sorted(times), "the times have the order of the numbers"


@pytest.mark.usefixtures("topic")
def test_values_that_are_no_json_are_made_so(
    publisher: EventPublisher, pubsub: PubSub, names: Names
) -> None:
    publisher.publish("job.rejected", reason="bad name \udcff", path=Path("/x"))
    (event,) = received(pubsub, names, 1)
    assert json.loads(event.encode())["reason"] == "bad name ?"
    assert json.loads(event.encode())["path"] == "/x"
    assert publisher.lost == 0


@pytest.mark.usefixtures("topic")
def test_an_event_that_is_not_valid_is_lost_and_counted(
    publisher: EventPublisher, pubsub: PubSub, names: Names, caplog: pytest.LogCaptureFixture
) -> None:
    circle: dict[str, object] = {}
    circle["self"] = circle
    publisher.publish("job.finished", id="a", state="DONE")
    publisher.publish("job.execution.finished", id="a", metrics=circle)
    publisher.publish("executor.heartbeat", note="x" * 10_000_001)
    publisher.publish("executor.stopped")
    (event,) = received(pubsub, names, 1)
    assert event.type == "executor.stopped"
    assert publisher.lost == 3
    assert "state is 'DONE'" in caplog.text


def test_a_missing_topic_costs_events_and_nothing_else(
    publisher: EventPublisher, pubsub: PubSub, names: Names, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        for count in range(1, 4):
            publisher.publish("executor.heartbeat", busy=count)
            assert publisher.flush(20)
    assert publisher.lost == 3
    assert caplog.text.count("cannot publish") == 1
    pubsub.create_topic(names.events)
    pubsub.create_subscription("watch-" + names.prefix, names.events)
    publisher.publish("executor.heartbeat", busy=0)
    received(pubsub, names, 1)
    assert publisher.lost == 3


def test_with_the_broker_away_publishing_does_not_block_and_the_queue_is_bounded() -> None:
    broker = Broker()
    broker.start()
    settings = PubSubSettings(emulator_host=broker.address, prefix="away")
    with settings.connect() as pubsub:
        publisher = EventPublisher(pubsub, settings.names, "exec-1", max_queue=50)
        broker.stop()
        began = time.monotonic()
        for _ in range(500):
            publisher.publish("executor.heartbeat")
        assert time.monotonic() - began < 5
        assert publisher.lost >= 400
        broker.start()
        wait_until(lambda: topic_made(pubsub, settings.names), what="the broker to be found again")
        publisher.publish("executor.stopped")
        assert wait_until(lambda: publisher.flush(1.0), what="the queue to empty")
        assert received(pubsub, settings.names, 501 - publisher.lost)[-1].type == "executor.stopped"
        publisher.close()
    broker.stop()


@pytest.mark.usefixtures("topic")
def test_closing_publishes_what_is_queued_and_counts_what_comes_after(
    publisher: EventPublisher, pubsub: PubSub, names: Names
) -> None:
    publisher.publish("executor.draining", reason="SIGTERM")
    publisher.close(10.0)
    publisher.publish("executor.stopped")
    assert publisher.lost == 1
    assert received(pubsub, names, 1)[0].type == "executor.draining"
