"""What the embedded broker promises beyond the suite that Google's emulator sits too."""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from google.api_core.exceptions import (
    Aborted,
    GoogleAPICallError,
    MethodNotImplemented,
    NotFound,
    ServiceUnavailable,
)
from google.cloud.pubsub_v1.subscriber.exceptions import AcknowledgeError, AcknowledgeStatus

from messaging.broker import Broker
from messaging.errors import UsageError
from tests.messaging.pubsub import PubsubServer, connected
from tests.waiting import wait_until


def test_starting_and_stopping_twice_does_nothing() -> None:
    broker = Broker()
    broker.stop()
    broker.start()
    address = broker.address
    broker.start()
    assert broker.address == address
    broker.stop()
    broker.stop()


def test_an_address_is_known_only_after_the_start() -> None:
    with pytest.raises(UsageError, match="start it first"):
        _ = Broker().address
    assert Broker(port=8085).address == "127.0.0.1:8085"


def test_a_port_in_use_is_a_usage_error_that_names_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        broker = Broker(port=port)
        with pytest.raises(UsageError, match=f"127.0.0.1:{port}.*choose another port"):
            broker.start()
    broker.start()
    broker.stop()


def test_two_brokers_cannot_share_a_port() -> None:
    with Broker() as first:
        port = int(first.address.rpartition(":")[2])
        with pytest.raises(UsageError, match="in use"):
            Broker(port=port).start()


def test_a_restarted_broker_serves_the_same_port_and_remembers_nothing() -> None:
    with Broker() as broker, connected(broker.address, "embedded") as server:
        address = broker.address
        topic, subscription = server.pair()
        server.publish(topic, b"x")
        [held] = server.pull(subscription)
        broker.stop()
        broker.start()
        assert broker.address == address
        wait_until(lambda: _answer_code(server, topic) == grpc.StatusCode.NOT_FOUND)
        server.publisher.create_topic(name=topic)
        server.subscriber.create_subscription(name=subscription, topic=topic)
        server.publish(topic, b"y")
        [other] = server.pull(subscription)
        server.ack(subscription, held)
        server.extend(subscription, other, 0)
        assert server.pull(subscription)[0].message.data == b"y"


def test_stopping_ends_waiting_pulls_at_once() -> None:
    broker = Broker()
    broker.start()
    with connected(broker.address, "embedded") as server, ThreadPoolExecutor(1) as pool:
        _, subscription = server.pair()
        waiting = pool.submit(server.pull_once, subscription, timeout=60)
        wait_until(waiting.running)
        server.ready(subscription)
        started = time.monotonic()
        broker.stop(grace=30)
        with pytest.raises(ServiceUnavailable):
            waiting.result(20)
        assert time.monotonic() - started < 15


def test_it_starts_and_stops_many_times_under_load_and_leaves_no_thread() -> None:
    before = _broker_threads()
    broker = Broker()
    broker.start()
    stopped = threading.Event()
    with connected(broker.address, "embedded") as server, ThreadPoolExecutor(4) as pool:
        load = [pool.submit(_bother, server, stopped) for _ in range(4)]
        for _ in range(15):
            broker.stop(grace=0.1)
            broker.start()
        wait_until(lambda: _answer_code(server, server.topic_path("none")) is not None)
        stopped.set()
        for each in load:
            each.result(60)
        assert server.pull(_published(server))[0].message.data == b"x"
    broker.stop()
    assert _broker_threads() == before


def test_start_and_stop_may_come_from_many_threads() -> None:
    broker = Broker()
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            calls = [pool.submit(broker.start if n % 2 else broker.stop) for n in range(16)]
            for call in calls:
                call.result(60)
    broker.start()
    with connected(broker.address, "embedded") as server:
        server.topic()
    broker.stop()


def test_hundreds_of_waiting_pulls_cost_no_threads(embedded: PubsubServer) -> None:
    topic, subscription = embedded.pair(ack_deadline_seconds=60)
    before = threading.active_count()
    pulls = [embedded.pull_in_background(subscription) for _ in range(300)]
    assert embedded.ready(embedded.subscription(topic)) == []
    assert threading.active_count() <= before + 10
    embedded.publish(topic, *[b"%d" % n for n in range(300)])
    received = [pull.result(20).received_messages for pull in pulls]
    assert sorted(len(each) for each in received) == [1] * 300


def test_deleting_a_subscription_ends_the_pulls_that_wait_on_it(embedded: PubsubServer) -> None:
    _, subscription = embedded.pair()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(embedded.pull_once, subscription, timeout=30)
        wait_until(waiting.running)
        embedded.ready(subscription)
        embedded.subscriber.delete_subscription(subscription=subscription)
        with pytest.raises(NotFound):
            waiting.result(20)


def test_a_pull_is_answered_before_its_client_gives_up(embedded: PubsubServer) -> None:
    _, subscription = embedded.pair()
    assert embedded.pull_once(subscription, timeout=1.0) == []


def test_an_asked_for_fault_hits_as_often_as_asked() -> None:
    with Broker() as broker, connected(broker.address, "embedded") as server:
        topic = server.topic()
        broker.fail_next("Publish", grpc.StatusCode.PERMISSION_DENIED, times=2)
        for _ in range(2):
            with pytest.raises(GoogleAPICallError, match="a test asked for it"):
                server.publish(topic, b"x")
        server.publish(topic, b"x")


@pytest.mark.parametrize(
    "settings",
    [
        {"push_config": {"push_endpoint": "https://example.com/push"}},
        {"enable_message_ordering": True},
    ],
)
def test_what_only_production_does_is_refused_by_name(
    embedded: PubsubServer, settings: dict[str, object]
) -> None:
    with pytest.raises(MethodNotImplemented, match="embedded broker does not serve"):
        embedded.pair(**settings)


def test_exactly_once_delivery_tells_of_a_stale_ack(embedded: PubsubServer) -> None:
    topic, subscription = embedded.pair(enable_exactly_once_delivery=True)
    embedded.publish(topic, b"x")
    [first] = embedded.pull(subscription)
    embedded.ack(subscription, first)
    with pytest.raises(GoogleAPICallError) as caught:
        embedded.ack(subscription, first)
    assert caught.value.code == 400
    assert first.ack_id in str(caught.value.details)


def test_exactly_once_futures_of_the_ordinary_client_say_what_became_of_an_ack(
    embedded: PubsubServer,
) -> None:
    topic, subscription = embedded.pair(enable_exactly_once_delivery=True)
    statuses: list[AcknowledgeStatus] = []
    answered = threading.Event()

    def answer(message: object) -> None:
        for _ in range(2):
            try:
                statuses.append(message.ack_with_response().result(20))  # type: ignore[attr-defined]
            except AcknowledgeError as error:
                statuses.append(error.error_code)
        answered.set()

    future = embedded.subscriber.subscribe(subscription, callback=answer)
    embedded.publish(topic, b"x")
    assert answered.wait(30)
    future.cancel()
    future.result(20)
    assert statuses == [AcknowledgeStatus.SUCCESS, AcknowledgeStatus.INVALID_ACK_ID]


def test_a_closed_stream_takes_no_more_messages(embedded: PubsubServer) -> None:
    topic, subscription = embedded.pair(ack_deadline_seconds=600)
    future = embedded.subscriber.subscribe(subscription, callback=lambda message: message.ack())
    future.cancel()
    future.result(20)
    embedded.publish(topic, b"x")
    assert embedded.pull(subscription, timeout=10)[0].message.data == b"x"


def _broker_threads() -> int:
    return sum(thread.name == "portfire-broker" for thread in threading.enumerate())


def _published(server: PubsubServer) -> str:
    """A subscription with one message in it."""
    topic, subscription = server.pair()
    server.publish(topic, b"x")
    return subscription


def _answer_code(server: PubsubServer, topic: str) -> grpc.StatusCode | None:
    """What the server says to a question for a topic; None while it says nothing."""
    try:
        server.publisher.get_topic(topic=topic, retry=None, timeout=2.0)
    except (ServiceUnavailable, Aborted):
        return None
    except GoogleAPICallError as error:
        code: grpc.StatusCode | None = error.grpc_status_code
        return code
    return grpc.StatusCode.OK


def _bother(server: PubsubServer, stopped: threading.Event) -> None:
    """Call the server until `stopped`, whatever it answers."""
    while not stopped.is_set():
        try:
            topic = server.topic()
            subscription = server.subscription(topic)
            server.publisher.publish(topic=topic, messages=[{"data": b"x"}], retry=None, timeout=1)
            server.pull_once(subscription, timeout=1)
        except GoogleAPICallError:
            stopped.wait(0.02)
