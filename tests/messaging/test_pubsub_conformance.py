"""What any Pub/Sub server must do: the embedded broker and Google's emulator sit the same exam.

This is the part on messages; `test_pubsub_conformance_resources` and `..._streaming` are the rest.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from google.api_core.exceptions import DeadlineExceeded, InvalidArgument

from tests.messaging.differences import differs
from tests.messaging.pubsub import PubsubServer


class TestPublish:
    def test_a_message_arrives_as_it_was_published(self, server: PubsubServer) -> None:
        topic, subscription = server.pair()
        before = time.time()
        [message_id] = server.publish(topic, b"\x00payload", job="17", pool="default")
        received = server.pull(subscription)[0].message
        assert received.data == b"\x00payload"
        assert dict(received.attributes) == {"job": "17", "pool": "default"}
        assert received.message_id == message_id
        assert abs(received.publish_time.timestamp() - before) < 60

    def test_the_batching_client_publishes_all_it_was_given(self, server: PubsubServer) -> None:
        topic, subscription = server.pair()
        futures = [server.batching_publisher.publish(topic, b"%d" % n, n=str(n)) for n in range(50)]
        ids = {future.result(20) for future in futures}
        received = server.pull(subscription, 50)
        assert {r.message.message_id for r in received} == ids

    def test_ids_come_in_the_order_of_the_messages(self, server: PubsubServer) -> None:
        topic, subscription = server.pair()
        payloads = [b"%d" % number for number in range(20)]
        ids = server.publish(topic, *payloads)
        received = server.pull(subscription, 20)
        assert {r.message.message_id: r.message.data for r in received} == dict(
            zip(ids, payloads, strict=True)
        )

    def test_every_subscription_gets_its_own_copy(self, server: PubsubServer) -> None:
        topic, first = server.pair()
        second = server.subscription(topic)
        server.publish(topic, b"x")
        server.ack(first, *server.pull(first))
        assert server.pull(second)[0].message.data == b"x"

    def test_a_subscription_gets_only_what_is_published_after_it(
        self, server: PubsubServer
    ) -> None:
        topic = server.topic()
        server.publish(topic, b"before")
        subscription = server.subscription(topic)
        server.publish(topic, b"after")
        assert server.pull(subscription)[0].message.data == b"after"

    def test_a_message_without_data_and_attributes_is_refused(self, server: PubsubServer) -> None:
        topic = server.topic()
        with pytest.raises(InvalidArgument):
            server.publisher.publish(topic=topic, messages=[{"data": b"x"}, {}])
        with pytest.raises(InvalidArgument):
            server.publisher.publish(topic=topic, messages=[])

    def test_more_than_1000_messages_in_a_request_are_refused(self, server: PubsubServer) -> None:
        with pytest.raises(InvalidArgument):
            server.publish(server.topic(), *[b"x"] * 1001)

    @differs("publish-limits")
    def test_a_request_over_10_megabytes_is_refused(self, server: PubsubServer) -> None:
        topic = server.topic()
        server.publish(topic, b"x" * 9_900_000)
        with pytest.raises(InvalidArgument, match="10000000"):
            server.publish(topic, b"x" * 10_000_000)

    @differs("publish-limits")
    @pytest.mark.parametrize(
        "attributes",
        [
            {"k" * 257: "v"},
            {"k": "v" * 1025},
            {"googish": "v"},
            {"": "v"},
            {f"k{number}": "v" for number in range(101)},
        ],
        ids=["long key", "long value", "reserved key", "empty key", "too many"],
    )
    def test_oversized_attributes_are_refused(
        self, server: PubsubServer, attributes: dict[str, str]
    ) -> None:
        with pytest.raises(InvalidArgument):
            server.publish_attributes(server.topic(), attributes)


class TestPull:
    def test_it_gives_no_more_than_it_was_asked_for(self, server: PubsubServer) -> None:
        topic, subscription = server.pair()
        server.publish(topic, b"1", b"2", b"3")
        assert len(server.pull_once(subscription, 2)) == 2

    def test_asking_for_nothing_is_refused(self, server: PubsubServer) -> None:
        _, subscription = server.pair()
        with pytest.raises(InvalidArgument):
            server.pull_once(subscription, 0)

    def test_an_empty_subscription_answers_at_once_if_so_asked(self, server: PubsubServer) -> None:
        _, subscription = server.pair()
        started = time.monotonic()
        assert server.ready(subscription) == []
        assert time.monotonic() - started < 2.0

    def test_an_empty_subscription_keeps_a_pull_waiting(self, server: PubsubServer) -> None:
        _, subscription = server.pair()
        started = time.monotonic()
        with suppress(DeadlineExceeded):  # how production may put it
            assert server.pull_once(subscription, timeout=2.0) == []
        assert time.monotonic() - started > 0.5

    def test_a_waiting_pull_gets_what_is_published(self, server: PubsubServer) -> None:
        topic, subscription = server.pair()
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(server.pull, subscription)
            server.publish(topic, b"now")
            assert waiting.result(20)[0].message.data == b"now"

    @pytest.mark.alone
    @differs("delay")
    def test_delivery_to_a_waiting_client_takes_milliseconds(self, server: PubsubServer) -> None:
        topic, subscription = server.pair()
        delays = sorted(_delivery_delay(server, topic, subscription) for _ in range(15))
        assert delays[7] < 0.02

    def test_two_clients_never_hold_the_same_message(self, server: PubsubServer) -> None:
        topic, subscription = server.pair(ack_deadline_seconds=60)
        server.publish(topic, *[b"%d" % number for number in range(60)])
        with ThreadPoolExecutor(6) as pool:
            pulls = [pool.submit(server.pull, subscription, 10) for _ in range(6)]
            received = [r.message.data for pull in pulls for r in pull.result(60)]
        assert len(set(received)) == 60

    @differs("cancelled-pull")
    def test_a_pull_whose_client_left_swallows_nothing(self, server: PubsubServer) -> None:
        topic, subscription = server.pair(ack_deadline_seconds=60)
        for number in range(20):
            leaving = server.pull_in_background(subscription)
            time.sleep(number / 1000)  # leave at different moments of the pull's life
            leaving.cancel()
            server.publish(topic, b"%d" % number)
            [received] = server.pull(subscription, timeout=10)
            assert received.message.data == b"%d" % number
            server.ack(subscription, received)


class TestAcknowledgement:
    def test_an_acked_message_never_comes_again(self, server: PubsubServer) -> None:
        topic, subscription = server.pair()
        server.publish(topic, b"first")
        [first] = server.pull(subscription)
        server.extend(subscription, first, 2)
        server.ack(subscription, first)
        server.ack(subscription, first)
        server.publish(topic, b"second")
        [second] = server.pull(subscription)
        server.extend(subscription, second, 4)
        [again] = server.pull(subscription)
        assert (second.message.data, again.message.data) == (b"second", b"second")

    def test_a_nacked_message_comes_again_at_once(self, server: PubsubServer) -> None:
        topic, subscription = server.pair(ack_deadline_seconds=60)
        server.publish(topic, b"x")
        [first] = server.pull(subscription)
        server.extend(subscription, first, 0)
        [second] = server.pull(subscription, timeout=10)
        assert second.message.message_id == first.message.message_id
        assert second.ack_id != first.ack_id

    def test_past_its_deadline_a_message_goes_to_another_client(self, server: PubsubServer) -> None:
        topic, subscription = server.pair()
        server.publish(topic, b"x")
        [first] = server.pull(subscription)
        server.extend(subscription, first, 1)
        assert server.ready(subscription) == []
        [second] = server.pull(subscription)
        assert second.message.message_id == first.message.message_id

    def test_an_extended_message_stays_with_its_holder(self, server: PubsubServer) -> None:
        topic, subscription = server.pair()
        server.publish(topic, b"held", b"let go")
        held, let_go = server.pull(subscription, 2)
        server.extend(subscription, held, 1)
        server.extend(subscription, held, 60)
        server.extend(subscription, let_go, 2)
        [again] = server.pull(subscription)
        assert again.message.message_id == let_go.message.message_id
        assert server.ready(subscription) == []

    def test_a_stale_ack_id_neither_acks_nor_extends(self, server: PubsubServer) -> None:
        topic, subscription = server.pair()
        server.publish(topic, b"x")
        [first] = server.pull(subscription)
        server.extend(subscription, first, 0)
        [second] = server.pull(subscription)
        server.ack(subscription, first)
        server.extend(subscription, second, 1)
        server.extend(subscription, first, 600)
        [third] = server.pull(subscription)
        assert third.message.message_id == first.message.message_id

    @pytest.mark.parametrize("ack_ids", [[], [""], ["garbage"]])
    def test_what_is_no_ack_id_is_refused(self, server: PubsubServer, ack_ids: list[str]) -> None:
        _, subscription = server.pair()
        with pytest.raises(InvalidArgument):
            server.subscriber.acknowledge(subscription=subscription, ack_ids=ack_ids)
        with pytest.raises(InvalidArgument):
            server.subscriber.modify_ack_deadline(
                subscription=subscription, ack_ids=ack_ids, ack_deadline_seconds=10
            )

    def test_a_negative_extension_is_refused(self, server: PubsubServer) -> None:
        topic, subscription = server.pair()
        server.publish(topic, b"x")
        with pytest.raises(InvalidArgument):
            server.extend(subscription, server.pull(subscription)[0], -1)

    @differs("upper-extension")
    def test_an_extension_over_600_seconds_is_refused(self, server: PubsubServer) -> None:
        topic, subscription = server.pair()
        server.publish(topic, b"x")
        with pytest.raises(InvalidArgument):
            server.extend(subscription, server.pull(subscription)[0], 601)


class TestRedelivery:
    def test_without_a_policy_attempts_are_not_counted(self, server: PubsubServer) -> None:
        topic, subscription = server.pair()
        server.publish(topic, b"x")
        [first] = server.pull(subscription)
        server.extend(subscription, first, 0)
        [second] = server.pull(subscription)
        assert (first.delivery_attempt, second.delivery_attempt) == (0, 0)

    def test_after_its_attempts_a_message_is_a_dead_letter(self, server: PubsubServer) -> None:
        dead_topic, dead = server.pair()
        policy = {"dead_letter_topic": dead_topic, "max_delivery_attempts": 5}
        topic, subscription = server.pair(dead_letter_policy=policy)
        server.publish(topic, b"poison", job="17")
        attempts = []
        for _ in range(5):
            [received] = server.pull(subscription)
            attempts.append(received.delivery_attempt)
            server.extend(subscription, received, 0)
        # Google's emulator forwards a dead message only when somebody asks for it once more.
        assert server.ready(subscription) == []
        [letter] = server.pull(dead)
        assert attempts == [1, 2, 3, 4, 5]
        assert letter.message.data == b"poison"
        assert letter.message.attributes["job"] == "17"
        assert letter.message.attributes["CloudPubSubDeadLetterSourceDeliveryCount"] == "5"

    @differs("retry-policy")
    def test_a_retry_policy_holds_a_failed_message_back(self, server: PubsubServer) -> None:
        policy = {"minimum_backoff": {"seconds": 1}, "maximum_backoff": {"seconds": 2}}
        topic, subscription = server.pair(retry_policy=policy)
        server.publish(topic, b"x")
        [first] = server.pull(subscription)
        failed = time.monotonic()
        server.extend(subscription, first, 0)
        server.pull(subscription)
        assert time.monotonic() - failed > 0.9


class TestFilters:
    @differs("filters")
    def test_only_matching_messages_are_delivered(self, server: PubsubServer) -> None:
        pool_filter = 'attributes.pool = "gpu" OR NOT attributes:pool'
        topic, subscription = server.pair(filter=pool_filter)
        server.publish_attributes(topic, {"pool": "cpu"}, {"pool": "gpu"}, {"job": "1"})
        received = [dict(r.message.attributes) for r in server.pull(subscription, 2)]
        assert received == [{"pool": "gpu"}, {"job": "1"}]
        assert server.ready(subscription) == []

    @differs("filters")
    @pytest.mark.parametrize("text", ["nonsense", "attributes:a AND", "attributes:" + "a" * 256])
    def test_a_wrong_filter_is_refused(self, server: PubsubServer, text: str) -> None:
        with pytest.raises(InvalidArgument):
            server.pair(filter=text)

    def test_a_filter_is_shown_as_it_was_given(self, server: PubsubServer) -> None:
        _, subscription = server.pair(filter="attributes:a")
        settings = server.subscriber.get_subscription(subscription=subscription)
        assert settings.filter == "attributes:a"


def _delivery_delay(server: PubsubServer, topic: str, subscription: str) -> float:
    """Seconds from publishing to the return of a Pull that waits."""
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(lambda: (server.pull(subscription), time.monotonic()))
        time.sleep(0.02)  # let the pull reach the server; too short only makes the test easier
        published = time.monotonic()
        server.publish(topic, b"x")
        received, arrived = waiting.result(20)
    server.ack(subscription, *received)
    return arrived - published
