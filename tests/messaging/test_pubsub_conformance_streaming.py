"""The conformance suite's part on StreamingPull: flow control, acks on the stream, bounds."""

from __future__ import annotations

from typing import Any

import pytest
from google.api_core.exceptions import InvalidArgument, NotFound

from tests.messaging.differences import differs
from tests.messaging.pubsub import PubsubServer
from tests.messaging.streaming import BareStream
from tests.waiting import wait_until


class TestStreamingPull:
    def test_the_ordinary_subscriber_gets_every_message_once(self, server: PubsubServer) -> None:
        topic, subscription = server.pair(ack_deadline_seconds=60)
        received: list[bytes] = []

        def answer(message: Any) -> None:
            received.append(message.data)
            message.ack()

        future = server.subscriber.subscribe(subscription, callback=answer)
        payloads = [b"%d" % number for number in range(200)]
        server.publish(topic, *payloads)
        wait_until(lambda: len(received) >= 200, what="200 messages")
        future.cancel()
        future.result(20)
        assert sorted(received) == sorted(payloads)

    def test_a_nack_by_the_ordinary_subscriber_brings_a_message_again(
        self, server: PubsubServer
    ) -> None:
        topic, subscription = server.pair()
        received: list[str] = []

        def answer(message: Any) -> None:
            received.append(message.message_id)
            message.nack() if len(received) == 1 else message.ack()

        future = server.subscriber.subscribe(subscription, callback=answer)
        [message_id] = server.publish(topic, b"x")
        wait_until(lambda: len(received) == 2, what="a second delivery")
        future.cancel()
        future.result(20)
        assert received == [message_id] * 2

    @differs("flow-control")
    def test_a_full_client_gets_more_only_for_what_it_acks(self, server: PubsubServer) -> None:
        topic, subscription = server.pair()
        server.publish(topic, b"1", b"2", b"3")
        with BareStream(server, subscription, max_outstanding_messages=2) as stream:
            first, _ = stream.receive(2)
            assert stream.silent(0.5)
            server.ack(subscription, first)
            assert len(stream.receive(1)) == 1

    @differs("flow-control")
    def test_bytes_fill_a_client_too(self, server: PubsubServer) -> None:
        topic, subscription = server.pair()
        server.publish(topic, *[b"x" * 1000] * 3)
        with BareStream(server, subscription, max_outstanding_bytes=1500) as stream:
            first, _ = stream.receive(2)
            assert stream.silent(0.5)
            server.ack(subscription, first)
            assert len(stream.receive(1)) == 1

    def test_acks_and_nacks_travel_on_the_stream(self, server: PubsubServer) -> None:
        topic, subscription = server.pair()
        server.publish(topic, b"ack", b"nack")
        with BareStream(server, subscription) as stream:
            held = {received.message.data: received for received in stream.receive(2)}
            stream.send(
                ack_ids=[held[b"ack"].ack_id],
                modify_deadline_ack_ids=[held[b"nack"].ack_id],
                modify_deadline_seconds=[0],
            )
            assert [r.message.data for r in stream.receive(1)] == [b"nack"]

    def test_a_stream_on_a_missing_subscription_is_not_found(self, server: PubsubServer) -> None:
        with (
            pytest.raises(NotFound),
            BareStream(server, server.subscription_path("none")) as stream,
        ):
            stream.receive(1)

    @pytest.mark.parametrize("seconds", [0, 9, 601])
    def test_a_stream_needs_an_ack_deadline_within_bounds(
        self, server: PubsubServer, seconds: int
    ) -> None:
        _, subscription = server.pair()
        opened = BareStream(server, subscription, stream_ack_deadline_seconds=seconds)
        with pytest.raises(InvalidArgument), opened as stream:
            stream.receive(1)
