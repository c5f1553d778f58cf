"""Access to Pub/Sub: the few calls that Portfire makes, with errors that say what to do next.

The same code talks to Google Pub/Sub, to Google's emulator and to the embedded broker: all three
speak ``google.pubsub.v1``. The generated clients of google-cloud-pubsub are used rather than its
hand-written ones: a job must be pulled only when a slot is free, and a result must be confirmed
before its job is acked, so we want plain calls and no queues of somebody else's between us and the
service.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from google.api_core import exceptions as google_errors
from google.protobuf import duration_pb2
from google.pubsub_v1 import PublisherClient, SubscriberClient, types
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

from messaging.connection import open_channel, translated
from messaging.errors import MessageTooLargeError, NotFoundError, ServiceError
from messaging.wire import MAX_MESSAGE_BYTES

#: Limits of one Publish request.
_MAX_REQUEST_MESSAGES = 1000
#: Limit of one Acknowledge or ModifyAckDeadline request is 512 KiB; ack ids are under 250 bytes.
_MAX_REQUEST_ACK_IDS = 1000
#: What a message costs beside its data and attributes, generously.
_MESSAGE_OVERHEAD_BYTES = 64


@dataclass(frozen=True)
class Outgoing:
    """A message to publish."""

    data: bytes
    attributes: Mapping[str, str] = field(default_factory=dict)
    #: Bytes that the message counts for against Pub/Sub's limit.
    size: int = field(init=False, compare=False)

    def __post_init__(self) -> None:
        text = "".join((*self.attributes, *self.attributes.values()))
        size = len(self.data) + len(text.encode()) + _MESSAGE_OVERHEAD_BYTES
        object.__setattr__(self, "size", size)


@dataclass(frozen=True, slots=True)
class Received:
    """A delivered message and the lease on it."""

    ack_id: str
    data: bytes
    attributes: dict[str, str]
    message_id: str
    #: Seconds since the epoch, UTC.
    publish_time: float
    #: 1 at the first delivery; 0 when the subscription has no dead-letter policy.
    delivery_attempt: int


class PubSub:
    """A connection to Pub/Sub for one Google Cloud project.

    Topics and subscriptions are named by their ids. All methods block, may be called from any
    thread, and never retry: a ServiceError means that the same call may work later, a NotFoundError
    that the topic or subscription is gone, a UsageError that a person must act (no permission, a
    name or filter that Pub/Sub does not take).
    """

    def __init__(self, project: str, emulator_host: str | None = None) -> None:
        """Connect lazily; raises UsageError when there are no Google credentials.

        `emulator_host` is ``HOST:PORT`` of an emulator or the embedded broker.
        """
        self.project = project
        self.emulator_host = emulator_host
        self._publisher = PublisherClient(
            transport=PublisherGrpcTransport(
                channel=open_channel(PublisherGrpcTransport, emulator_host)
            )
        )
        self._subscriber = self._subscriber_client()
        # Pulls have a channel of their own, so that closing it wakes them and nothing else.
        self._puller = self._subscriber_client()
        self._pulls_cancelled = threading.Event()

    def __enter__(self) -> PubSub:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()

    def topic_path(self, topic: str) -> str:
        """Full name of a topic; a full name is returned as it is."""
        return topic if "/" in topic else f"projects/{self.project}/topics/{topic}"

    def subscription_path(self, subscription: str) -> str:
        """Full name of a subscription."""
        return f"projects/{self.project}/subscriptions/{subscription}"

    def publish(self, topic: str, messages: Sequence[Outgoing], timeout: float = 30.0) -> list[str]:
        """Publish and return the message ids, in order, once Pub/Sub has confirmed them all.

        Raises MessageTooLargeError before anything is sent when one message is over 10 MB. On a
        ServiceError some of the messages may have been published.
        """
        ids: list[str] = []
        for chunk in _chunks(messages):
            request = types.PublishRequest.pb()(topic=self.topic_path(topic))
            for message in chunk:
                # Quicker than to give `add` the fields, of which there are thousands a second.
                added = request.messages.add()
                added.data = message.data
                added.attributes.update(message.attributes)
            with translated(f"publish to topic {topic}"):
                response = self._publisher.publish(
                    request=types.PublishRequest.wrap(request), retry=None, timeout=timeout
                )
            ids.extend(response.message_ids)
        return ids

    def pull(self, subscription: str, max_messages: int, timeout: float) -> list[Received]:
        """Up to `max_messages`; waits up to `timeout` seconds for the first, then returns []."""
        if self._pulls_cancelled.is_set():
            return []
        request = types.PullRequest(
            subscription=self.subscription_path(subscription), max_messages=max_messages
        )
        try:
            with translated(f"pull from subscription {subscription}"):
                response = self._puller.pull(request=request, retry=None, timeout=timeout)
        except (ServiceError, ValueError) as exc:
            # gRPC says ValueError of a channel that is closed already.
            if self._pulls_cancelled.is_set() or _ran_out_of_time(exc):
                return []
            raise
        return [_received(item) for item in types.PullResponse.pb(response).received_messages]

    def acknowledge(self, subscription: str, ack_ids: Sequence[str]) -> None:
        """Settle messages for good. Best effort, as Pub/Sub's: a stale ack id has no effect."""
        for chunk in _slices(ack_ids):
            with translated(f"acknowledge on subscription {subscription}"):
                self._subscriber.acknowledge(
                    subscription=self.subscription_path(subscription),
                    ack_ids=chunk,
                    retry=None,
                    timeout=30.0,
                )

    def extend(self, subscription: str, ack_ids: Sequence[str], seconds: float) -> None:
        """Let leases end `seconds` from now; 0 gives the messages back at once."""
        for chunk in _slices(ack_ids):
            with translated(f"extend leases on subscription {subscription}"):
                self._subscriber.modify_ack_deadline(
                    subscription=self.subscription_path(subscription),
                    ack_ids=chunk,
                    ack_deadline_seconds=int(seconds),
                    retry=None,
                    timeout=10.0,
                )

    def create_topic(self, topic: str) -> bool:
        """Make the topic; False when it was there already."""
        with translated(f"create topic {topic}"):
            try:
                self._publisher.create_topic(name=self.topic_path(topic), retry=None, timeout=30.0)
            except google_errors.AlreadyExists:
                return False
        return True

    def delete_topic(self, topic: str) -> None:
        """Delete the topic; raises NotFoundError when there is none."""
        with translated(f"delete topic {topic}"):
            self._publisher.delete_topic(topic=self.topic_path(topic), retry=None, timeout=30.0)

    def topic_exists(self, topic: str) -> bool:
        """Whether the topic is there."""
        try:
            with translated(f"look up topic {topic}"):
                self._publisher.get_topic(topic=self.topic_path(topic), retry=None, timeout=30.0)
        except NotFoundError:
            return False
        return True

    def subscription_exists(self, subscription: str) -> bool:
        """Whether the subscription is there and still attached to its topic."""
        try:
            with translated(f"look up subscription {subscription}"):
                found = self._subscriber.get_subscription(
                    subscription=self.subscription_path(subscription), retry=None, timeout=30.0
                )
        except NotFoundError:
            return False
        return bool(found.topic != "_deleted-topic_")

    def create_subscription(
        self,
        subscription: str,
        topic: str,
        *,
        filter: str = "",  # noqa: A002 - Pub/Sub's own word for it
        ack_deadline: float = 60.0,
        expire_after: float | None = None,
        dead_letter_topic: str | None = None,
        max_delivery_attempts: int = 100,
        min_backoff: float | None = None,
        max_backoff: float | None = None,
    ) -> bool:
        """Make the subscription; False when there is one of that name already.

        Seconds throughout. Without `expire_after` the subscription never expires (Pub/Sub's own
        default is 31 idle days). A subscription left over from a deleted topic receives nothing
        any more: it is replaced.
        """
        request = types.Subscription(
            name=self.subscription_path(subscription),
            topic=self.topic_path(topic),
            filter=filter,
            ack_deadline_seconds=int(ack_deadline),
            # A policy without a ttl means never.
            expiration_policy=types.ExpirationPolicy(
                ttl=None if expire_after is None else _duration(expire_after)
            ),
        )
        if dead_letter_topic is not None:
            request.dead_letter_policy = types.DeadLetterPolicy(
                dead_letter_topic=self.topic_path(dead_letter_topic),
                max_delivery_attempts=max_delivery_attempts,
            )
        if min_backoff is not None and max_backoff is not None:
            request.retry_policy = types.RetryPolicy(
                minimum_backoff=_duration(min_backoff), maximum_backoff=_duration(max_backoff)
            )
        with translated(f"create subscription {subscription} to topic {topic}"):
            try:
                self._subscriber.create_subscription(request=request, retry=None, timeout=30.0)
            except google_errors.AlreadyExists:
                if self.subscription_exists(subscription):
                    return False
                self.delete_subscription(subscription)
                self._subscriber.create_subscription(request=request, retry=None, timeout=30.0)
        return True

    def delete_subscription(self, subscription: str) -> None:
        """Delete the subscription; raises NotFoundError when there is none."""
        with translated(f"delete subscription {subscription}"):
            self._subscriber.delete_subscription(
                subscription=self.subscription_path(subscription), retry=None, timeout=30.0
            )

    def cancel_pulls(self) -> None:
        """Wake every blocked pull; those and all later ones return [] at once. Idempotent.

        A message that the service was just sending to a cancelled pull comes back when its first
        lease runs out.
        """
        self._pulls_cancelled.set()
        self._puller.transport.close()

    def close(self) -> None:
        """Close all connections. Idempotent."""
        self.cancel_pulls()
        self._subscriber.transport.close()
        self._publisher.transport.close()

    def _subscriber_client(self) -> Any:
        channel = open_channel(SubscriberGrpcTransport, self.emulator_host)
        return SubscriberClient(transport=SubscriberGrpcTransport(channel=channel))


def _received(item: Any) -> Received:
    message = item.message
    return Received(
        ack_id=item.ack_id,
        data=message.data,
        attributes=dict(message.attributes),
        message_id=message.message_id,
        publish_time=message.publish_time.seconds + message.publish_time.nanos / 1e9,
        delivery_attempt=item.delivery_attempt,
    )


def _chunks(messages: Sequence[Outgoing]) -> Iterator[list[Outgoing]]:
    """Split into requests within Pub/Sub's limits."""
    for message in messages:
        if message.size > MAX_MESSAGE_BYTES:
            raise MessageTooLargeError(
                f"a message of {message.size:,} bytes is over Pub/Sub's limit of "
                f"{MAX_MESSAGE_BYTES:,}: keep large data in files and pass their names"
            )
    chunk: list[Outgoing] = []
    size = 0
    for message in messages:
        full = size + message.size > MAX_MESSAGE_BYTES or len(chunk) == _MAX_REQUEST_MESSAGES
        if chunk and full:
            yield chunk
            chunk, size = [], 0
        chunk.append(message)
        size += message.size
    if chunk:
        yield chunk


def _slices(ack_ids: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(ack_ids), _MAX_REQUEST_ACK_IDS):
        yield list(ack_ids[start : start + _MAX_REQUEST_ACK_IDS])


def _duration(seconds: float) -> duration_pb2.Duration:
    whole = int(seconds)
    return duration_pb2.Duration(seconds=whole, nanos=round((seconds - whole) * 1e9))


def _ran_out_of_time(error: Exception) -> bool:
    return isinstance(error.__cause__, google_errors.DeadlineExceeded)
