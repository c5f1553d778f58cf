"""Watching events: all that pass the filter, once each, and nothing left behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import grpc
import pytest

from events.publisher import EventPublisher
from events.subscriber import Subscription, subscribe
from events.types import Event
from messaging.broker import Broker
from messaging.errors import NotFoundError, ServiceError, UsageError
from messaging.names import Names
from messaging.pubsub import Outgoing, PubSub
from messaging.settings import PubSubSettings
from tests.waiting import wait_until


@pytest.fixture
def publisher(pubsub: PubSub, names: Names) -> Iterator[EventPublisher]:
    publisher = EventPublisher(pubsub, names, "exec-1")
    yield publisher
    publisher.close(1.0)


def received(subscription: Subscription, count: int) -> list[str]:
    """The types of the next `count` events."""
    found: list[str] = []

    def enough() -> bool:
        found.extend(event.type for event in subscription.receive(1.0))
        return len(found) >= count

    wait_until(enough, what=f"{count} events")
    return found


def test_the_topic_is_created_when_missing_and_the_subscription_deleted_after(
    settings: PubSubSettings, pubsub: PubSub
) -> None:
    with subscribe(settings) as subscription:
        assert pubsub.topic_exists(settings.names.events)
        assert pubsub.subscription_exists(subscription.id)
    assert not pubsub.subscription_exists(subscription.id)
    subscription.close()


def test_the_iterator_gives_events_until_closed_from_another_thread(
    settings: PubSubSettings, publisher: EventPublisher
) -> None:
    subscription = subscribe(settings)
    seen: list[Event] = []
    reader = threading.Thread(target=lambda: seen.extend(subscription))
    reader.start()
    publisher.publish("job.started", id="a")
    publisher.publish("job.finished", id="a", state="COMPLETED")
    assert publisher.flush(10)
    wait_until(lambda: len(seen) == 2, what="both events")
    subscription.close()
    reader.join(10)
    assert not reader.is_alive()
    assert [event.type for event in seen] == ["job.started", "job.finished"]


def test_a_connection_serves_as_well_as_settings_and_stays_usable(
    pubsub: PubSub, names: Names, publisher: EventPublisher
) -> None:
    with subscribe(pubsub, names) as subscription:
        publisher.publish("executor.ready")
        assert received(subscription, 1) == ["executor.ready"]
    assert pubsub.topic_exists(names.events)


def test_only_what_passes_the_filter_comes(
    settings: PubSubSettings, publisher: EventPublisher
) -> None:
    stage_in = 'hasPrefix(attributes.type, "job.stage-in")'
    with subscribe(settings, filter=stage_in) as subscription:
        for event_type in ("job.started", "job.stage-in.started", "job.stage-in.finished"):
            publisher.publish(event_type, id="a")
        publisher.flush(10)
        assert received(subscription, 2) == ["job.stage-in.started", "job.stage-in.finished"]
        assert subscription.receive(0.2) == []


def test_the_filter_holds_on_a_server_that_ignores_filters(
    settings: PubSubSettings, pubsub: PubSub, names: Names, publisher: EventPublisher
) -> None:
    with subscribe(settings, filter='attributes.job = "a"') as subscription:
        # Google's emulator behaves as if this subscription had no filter.
        pubsub.delete_subscription(subscription.id)
        pubsub.create_subscription(subscription.id, names.events)
        for job in "bab":
            publisher.publish("job.started", id=job)
        publisher.flush(10)
        assert received(subscription, 1) == ["job.started"]
        assert subscription.receive(0.2) == []


def test_a_wrong_filter_is_refused_with_its_position_before_anything_is_made(
    settings: PubSubSettings, pubsub: PubSub
) -> None:
    with pytest.raises(UsageError, match="position 16"):
        subscribe(settings, filter="attributes.type ~ 3")
    assert not pubsub.topic_exists(settings.names.events)


def test_garbage_is_skipped_and_counted_and_repeats_come_once(
    settings: PubSubSettings, pubsub: PubSub, names: Names
) -> None:
    good = Event(type="executor.ready", executor="e")
    with subscribe(settings) as subscription:
        message = Outgoing(good.encode(), good.attributes())
        newer = Outgoing(b'{"version": "9.0", "type": "executor.ready", "executor": "e"}')
        pubsub.publish(names.events, [Outgoing(b"\xff{"), newer, message, message])
        last = Event(type="executor.stopped", executor="e")
        pubsub.publish(names.events, [Outgoing(last.encode())])
        assert received(subscription, 2) == ["executor.ready", "executor.stopped"]
        assert subscription.malformed == 2


def test_a_callback_gets_the_events_and_its_exceptions_are_not_fatal(
    settings: PubSubSettings, publisher: EventPublisher, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []

    def callback(event: Event) -> None:
        seen.append(event.type)
        if event.type == "executor.ready":
            raise ZeroDivisionError

    with subscribe(settings) as subscription:
        thread = subscription.watch(callback)
        publisher.publish("executor.ready")
        publisher.publish("executor.stopped")
        wait_until(lambda: seen == ["executor.ready", "executor.stopped"], what="both calls")
    thread.join(10)
    assert not thread.is_alive()
    assert "callback failed on event executor.ready" in caplog.text


def test_a_callback_may_close_the_subscription(
    settings: PubSubSettings, publisher: EventPublisher
) -> None:
    subscription = subscribe(settings)
    thread = subscription.watch(lambda _event: subscription.close())
    publisher.publish("executor.ready")
    thread.join(20)
    assert not thread.is_alive()


def test_a_deleted_subscription_is_made_again(
    settings: PubSubSettings, pubsub: PubSub, names: Names, publisher: EventPublisher
) -> None:
    with subscribe(settings) as subscription:
        pubsub.delete_subscription(subscription.id)
        pubsub.delete_topic(names.events)
        subscription.receive(0.1)
        wait_until(lambda: pubsub.subscription_exists(subscription.id), what="the subscription")
        publisher.publish("executor.ready")
        assert received(subscription, 1) == ["executor.ready"]


def test_a_failed_acknowledgement_neither_loses_nor_repeats_an_event(
    broker: Broker, settings: PubSubSettings, publisher: EventPublisher
) -> None:
    with subscribe(settings) as subscription:
        publisher.publish("executor.ready")
        publisher.flush(10)
        broker.fail_next("Acknowledge", grpc.StatusCode.UNAVAILABLE)
        assert received(subscription, 1) == ["executor.ready"]
        publisher.publish("executor.stopped")
        assert received(subscription, 1) == ["executor.stopped"]


def test_a_broker_that_was_away_is_watched_again() -> None:
    broker = Broker()
    broker.start()
    settings = PubSubSettings(emulator_host=broker.address, prefix="away")
    with subscribe(settings) as subscription, settings.connect() as pubsub:
        seen: list[str] = []
        subscription.watch(lambda event: seen.append(event.type))
        broker.stop()
        broker.start()

        def exists() -> bool:
            try:
                return pubsub.subscription_exists(subscription.id)
            except ServiceError:
                return False

        wait_until(exists, what="the subscription")
        publisher = EventPublisher(pubsub, settings.names, "exec-1")
        publisher.publish("executor.ready")
        wait_until(lambda: seen == ["executor.ready"], what="the event")
        publisher.close()
    broker.stop()


def test_with_no_broker_there_subscribing_says_so() -> None:
    with Broker() as broker:
        address = broker.address
    with pytest.raises(ServiceError):
        subscribe(PubSubSettings(emulator_host=address))


def test_the_subscription_expires_if_left_behind(settings: PubSubSettings) -> None:
    from google.pubsub_v1 import SubscriberClient
    from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

    with subscribe(settings) as subscription:
        channel = grpc.insecure_channel(settings.emulator_host)
        client = SubscriberClient(transport=SubscriberGrpcTransport(channel=channel))
        path = f"projects/portfire-local/subscriptions/{subscription.id}"
        found = client.get_subscription(subscription=path, timeout=10)
        channel.close()
    assert found.expiration_policy.ttl.total_seconds() == 24 * 3600


def test_closing_twice_or_after_the_subscription_went_raises_nothing(
    settings: PubSubSettings, pubsub: PubSub
) -> None:
    subscription = subscribe(settings)
    pubsub.delete_subscription(subscription.id)
    with pytest.raises(NotFoundError):
        pubsub.delete_subscription(subscription.id)
    subscription.close()
    subscription.close()
    assert subscription.receive(0.1) == []
