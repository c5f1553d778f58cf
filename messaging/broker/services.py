"""The two services of ``google.pubsub.v1``: each method turns a request into calls on resources.

Methods are plain functions of the request (Pull and StreamingPull are coroutines); all raise
`RefusedError`. They run on the broker's event loop only.
"""

from __future__ import annotations

import asyncio
from typing import Any

import grpc.aio

from messaging.broker.delivery import LiveSubscription, Stream
from messaging.broker.protocol import (
    Empty,
    ListSubscriptionsResponse,
    ListTopicsResponse,
    ListTopicSubscriptionsResponse,
    Proto,
    PublishResponse,
    PullResponse,
    StreamingPullResponse,
)
from messaging.broker.resources import Resources
from messaging.broker.status import RefusedError, invalid, stale_ack_ids
from messaging.broker.validation import (
    check_ack_deadline,
    check_ack_ids,
    check_extension,
    check_project,
    check_publish,
)

#: Longest wait of a Pull without messages, in seconds.
MAX_PULL_WAIT = 90.0
#: An empty Pull is answered this long before its client gives up (at most a tenth of its time),
#: lest a message be handed to a client that is just leaving.
PULL_MARGIN = 0.2
MAX_PAGE = 1000


class PublisherService:
    """``google.pubsub.v1.Publisher``."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    def create_topic(self, request: Proto) -> Proto:
        return self._resources.create_topic(request)

    def update_topic(self, request: Proto) -> Proto:
        return self._resources.update_topic(request.topic, request.update_mask)

    def publish(self, sized_request: tuple[Proto, int]) -> Proto:
        request, size = sized_request
        self._resources.topic(request.topic)
        check_publish(request, size)
        ids = self._resources.publish(request.topic, request.messages)
        return PublishResponse(message_ids=ids)

    def get_topic(self, request: Proto) -> Proto:
        return self._resources.topic(request.topic).settings

    def list_topics(self, request: Proto) -> Proto:
        names, token = _page(request, _of_project(self._resources.topic_names(), request.project))
        topics = [self._resources.topic(name).settings for name in names]
        return ListTopicsResponse(topics=topics, next_page_token=token)

    def list_topic_subscriptions(self, request: Proto) -> Proto:
        names, token = _page(request, sorted(self._resources.topic(request.topic).subscriptions))
        return ListTopicSubscriptionsResponse(subscriptions=names, next_page_token=token)

    def delete_topic(self, request: Proto) -> Proto:
        self._resources.delete_topic(request.topic)
        return Empty()


class SubscriberService:
    """``google.pubsub.v1.Subscriber``."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    def create_subscription(self, request: Proto) -> Proto:
        return self._resources.create_subscription(request)

    def get_subscription(self, request: Proto) -> Proto:
        return self._resources.subscription(request.subscription).settings

    def update_subscription(self, request: Proto) -> Proto:
        return self._resources.update_subscription(request.subscription, request.update_mask)

    def list_subscriptions(self, request: Proto) -> Proto:
        known = _of_project(self._resources.subscription_names(), request.project)
        names, token = _page(request, known)
        subscriptions = [self._resources.subscription(name).settings for name in names]
        return ListSubscriptionsResponse(subscriptions=subscriptions, next_page_token=token)

    def delete_subscription(self, request: Proto) -> Proto:
        self._resources.delete_subscription(request.subscription)
        return Empty()

    def acknowledge(self, request: Proto) -> Proto:
        subscription = self._resources.subscription(request.subscription)
        check_ack_ids(request.ack_ids)
        _refuse_stale(subscription, subscription.ack(request.ack_ids))
        return Empty()

    def modify_ack_deadline(self, request: Proto) -> Proto:
        subscription = self._resources.subscription(request.subscription)
        check_ack_ids(request.ack_ids)
        check_extension(request.ack_deadline_seconds)
        stale = subscription.extend(request.ack_ids, request.ack_deadline_seconds)
        _refuse_stale(subscription, stale)
        return Empty()

    async def pull(self, request: Proto, context: Any) -> None:
        """Answers through the context: only so does a client that left show as an error here."""
        subscription = self._resources.subscription(request.subscription)
        if request.max_messages <= 0:
            raise invalid("The value for max_messages must be positive.")
        wait = 0.0 if request.return_immediately else _pull_wait(context.time_remaining())
        deliveries = await subscription.pull(request.max_messages, wait)
        response = PullResponse()
        _fill(response.received_messages, deliveries)
        try:
            await context.write(response)
        except BaseException:
            subscription.give_back(deliveries)
            raise

    async def streaming_pull(self, _requests: Any, context: Any) -> None:
        """Write to the client as messages come, while a second task reads what it sends."""
        first = await context.read()
        if first is grpc.aio.EOF:
            return
        if not first.subscription:
            raise invalid("The first request of a stream must set subscription.")
        check_ack_deadline(first.stream_ack_deadline_seconds, "stream_ack_deadline_seconds")
        subscription = self._resources.subscription(first.subscription)
        stream = Stream(
            first.stream_ack_deadline_seconds,
            first.max_outstanding_messages,
            first.max_outstanding_bytes,
        )
        _apply(first, subscription, stream)
        subscription.attach(stream)
        reader = asyncio.get_running_loop().create_task(_read(context, subscription, stream))
        try:
            await _write(context, subscription, stream)
        finally:
            reader.cancel()
            subscription.detach(stream)


class _StreamEndError(RefusedError):
    """The client closed its side: the stream ends with OK."""

    def __init__(self) -> None:
        super().__init__(grpc.StatusCode.OK, "")


async def _write(context: Any, subscription: LiveSubscription, stream: Stream) -> None:
    while True:
        try:
            deliveries = await stream.next_batch()
        except _StreamEndError:
            return
        response = StreamingPullResponse()
        _fill(response.received_messages, deliveries)
        if subscription.settings.enable_exactly_once_delivery:
            response.subscription_properties.exactly_once_delivery_enabled = True
        try:
            await context.write(response)
        except BaseException:
            subscription.give_back(deliveries)
            raise
        subscription.dispatch()


async def _read(context: Any, subscription: LiveSubscription, stream: Stream) -> None:
    """Apply what the client sends, until it closes its side or sends something wrong."""
    try:
        while (request := await context.read()) is not grpc.aio.EOF:
            if request.subscription:
                raise invalid("Only the first request of a stream may set subscription.")
            _apply(request, subscription, stream)
    except RefusedError as refusal:
        stream.fail(refusal)
    else:
        stream.fail(_StreamEndError())


def _apply(request: Proto, subscription: LiveSubscription, stream: Stream) -> None:
    if request.stream_ack_deadline_seconds:
        seconds = request.stream_ack_deadline_seconds
        check_ack_deadline(seconds, "stream_ack_deadline_seconds")
        stream.ack_deadline = seconds
    if request.ack_ids:
        check_ack_ids(request.ack_ids)
        subscription.ack(request.ack_ids)
    if len(request.modify_deadline_ack_ids) != len(request.modify_deadline_seconds):
        raise invalid("modify_deadline_ack_ids and modify_deadline_seconds differ in length.")
    pairs = zip(request.modify_deadline_ack_ids, request.modify_deadline_seconds, strict=True)
    for ack_id, seconds in pairs:
        check_ack_ids([ack_id])
        check_extension(seconds)
        subscription.extend([ack_id], seconds)


def _fill(received: Proto, deliveries: list[Any]) -> None:
    for ack_id, message, attempt, _ in deliveries:
        received.add(ack_id=ack_id, delivery_attempt=attempt).message.CopyFrom(message)


def _pull_wait(remaining: float | None) -> float:
    if remaining is None:
        return MAX_PULL_WAIT
    return min(MAX_PULL_WAIT, remaining - min(PULL_MARGIN, remaining / 10))


def _refuse_stale(subscription: LiveSubscription, stale: list[str]) -> None:
    """Only exactly-once delivery tells a client that its ids had no effect."""
    if stale and subscription.settings.enable_exactly_once_delivery:
        raise stale_ack_ids(stale)


def _of_project(names: list[str], project: str) -> list[str]:
    check_project(project)
    return [name for name in names if name.startswith(f"{project}/")]


def _page(request: Proto, names: list[str]) -> tuple[list[str], str]:
    """One page of sorted `names`, and the token of the next: the last name that was shown."""
    if request.page_size < 0:
        raise invalid("The value for page_size must not be negative.")
    size = min(request.page_size or MAX_PAGE, MAX_PAGE)
    rest = [name for name in names if name > request.page_token]
    return rest[:size], rest[size - 1] if len(rest) > size else ""
