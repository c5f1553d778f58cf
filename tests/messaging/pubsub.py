"""A Pub/Sub server as the tests see it: ordinary clients, and names nobody else uses."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from google.cloud import pubsub_v1
from google.pubsub_v1 import PublisherClient
from google.pubsub_v1.types import PullRequest, PullResponse


class PubsubServer:
    """The ordinary clients on one server. Thread-safe, as the clients are."""

    def __init__(self, address: str, kind: str) -> None:
        self.address = address
        #: "embedded" or "emulator".
        self.kind = kind
        self.project = f"p-{uuid.uuid4().hex[:10]}"
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PUBSUB_EMULATOR_HOST", address)
            #: The client that batches, as programs use it.
            self.batching_publisher: Any = pubsub_v1.PublisherClient()
            #: The one beneath it, one request a call.
            self.publisher: Any = PublisherClient()
            self.subscriber: Any = pubsub_v1.SubscriberClient()
        self._raw_pull = self.subscriber.transport.grpc_channel.unary_unary(
            "/google.pubsub.v1.Subscriber/Pull",
            request_serializer=PullRequest.serialize,
            response_deserializer=PullResponse.deserialize,
        )

    def close(self) -> None:
        self.batching_publisher.transport.close()
        self.publisher.transport.close()
        self.subscriber.close()

    def topic_path(self, topic: str) -> str:
        return f"projects/{self.project}/topics/{topic}"

    def subscription_path(self, subscription: str) -> str:
        return f"projects/{self.project}/subscriptions/{subscription}"

    def topic(self, name: str = "") -> str:
        """Create a topic; returns its path."""
        path = self.topic_path(name or f"t-{uuid.uuid4().hex[:10]}")
        self.publisher.create_topic(name=path)
        return path

    def subscription(self, topic: str, **settings: Any) -> str:
        """Create a subscription to `topic`; returns its path."""
        path = self.subscription_path(f"s-{uuid.uuid4().hex[:10]}")
        self.subscriber.create_subscription(request={"name": path, "topic": topic, **settings})
        return path

    def pair(self, **settings: Any) -> tuple[str, str]:
        """A fresh topic and a fresh subscription to it."""
        topic = self.topic()
        return topic, self.subscription(topic, **settings)

    def publish(self, topic: str, *payloads: bytes, **attributes: str) -> list[str]:
        """Publish one message for each payload in one request; returns their ids."""
        messages = [{"data": data, "attributes": attributes} for data in payloads]
        return list(self.publisher.publish(topic=topic, messages=messages).message_ids)

    def publish_attributes(self, topic: str, *attributes: Mapping[str, str]) -> None:
        """Publish one message for each mapping."""
        messages = [{"attributes": dict(each)} for each in attributes]
        self.publisher.publish(topic=topic, messages=messages)

    def pull_once(self, subscription: str, count: int = 1, timeout: float = 10.0) -> list[Any]:
        """One unary Pull, without the client's retries."""
        response = self.subscriber.pull(
            subscription=subscription, max_messages=count, timeout=timeout, retry=None
        )
        return list(response.received_messages)

    def pull_in_background(self, subscription: str, count: int = 1) -> Any:
        """A Pull under way, as a ``grpc.Future`` that can be cancelled."""
        request = PullRequest(subscription=subscription, max_messages=count)
        return self._raw_pull.future(request, timeout=60)

    def pull(self, subscription: str, count: int = 1, timeout: float = 20.0) -> list[Any]:
        """Pull until `count` messages have come; fails after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        received: list[Any] = []
        while len(received) < count:
            if time.monotonic() > deadline:
                raise AssertionError(f"{len(received)} of {count} messages after {timeout} s")
            received += self.pull_once(subscription, count - len(received), timeout=5.0)
        return received

    def ready(self, subscription: str, count: int = 100) -> list[Any]:
        """What can be had without waiting."""
        # Not through the client's own method, which warns that the field is deprecated.
        request = PullRequest(
            subscription=subscription, max_messages=count, return_immediately=True
        )
        return list(self._raw_pull(request, timeout=20).received_messages)

    def ack(self, subscription: str, *received: Any) -> None:
        ack_ids = [each.ack_id for each in received]
        self.subscriber.acknowledge(subscription=subscription, ack_ids=ack_ids)

    def extend(self, subscription: str, received: Any, seconds: int) -> None:
        """Set the ack deadline of one received message; 0 is a nack."""
        self.subscriber.modify_ack_deadline(
            subscription=subscription, ack_ids=[received.ack_id], ack_deadline_seconds=seconds
        )


@contextmanager
def connected(address: str, kind: str) -> Iterator[PubsubServer]:
    """Clients for the server at `address`, closed in the end."""
    server = PubsubServer(address, kind)
    try:
        yield server
    finally:
        server.close()
