"""The raw protobuf classes of ``google.pubsub.v1`` that the broker speaks.

The proto-plus wrappers that the client library shows cost several microseconds for each field
touched; a broker touches every message, so it uses what they wrap.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from google.protobuf import empty_pb2
from google.pubsub_v1 import types

#: What these classes make has no type that mypy could know.
Proto: TypeAlias = Any

Empty = empty_pb2.Empty
Topic = types.Topic.pb()
Subscription = types.Subscription.pb()
PubsubMessage = types.PubsubMessage.pb()
PublishResponse = types.PublishResponse.pb()
PullResponse = types.PullResponse.pb()
StreamingPullResponse = types.StreamingPullResponse.pb()
ListTopicsResponse = types.ListTopicsResponse.pb()
ListTopicSubscriptionsResponse = types.ListTopicSubscriptionsResponse.pb()
ListSubscriptionsResponse = types.ListSubscriptionsResponse.pb()

#: Method name -> request and response class, for each service.
PUBLISHER: dict[str, tuple[Proto, Proto]] = {
    "CreateTopic": (Topic, Topic),
    "UpdateTopic": (types.UpdateTopicRequest.pb(), Topic),
    "Publish": (types.PublishRequest.pb(), PublishResponse),
    "GetTopic": (types.GetTopicRequest.pb(), Topic),
    "ListTopics": (types.ListTopicsRequest.pb(), ListTopicsResponse),
    "ListTopicSubscriptions": (
        types.ListTopicSubscriptionsRequest.pb(),
        ListTopicSubscriptionsResponse,
    ),
    "DeleteTopic": (types.DeleteTopicRequest.pb(), Empty),
}
SUBSCRIBER: dict[str, tuple[Proto, Proto]] = {
    "CreateSubscription": (Subscription, Subscription),
    "GetSubscription": (types.GetSubscriptionRequest.pb(), Subscription),
    "UpdateSubscription": (types.UpdateSubscriptionRequest.pb(), Subscription),
    "ListSubscriptions": (types.ListSubscriptionsRequest.pb(), ListSubscriptionsResponse),
    "DeleteSubscription": (types.DeleteSubscriptionRequest.pb(), Empty),
    "ModifyAckDeadline": (types.ModifyAckDeadlineRequest.pb(), Empty),
    "Acknowledge": (types.AcknowledgeRequest.pb(), Empty),
    "Pull": (types.PullRequest.pb(), PullResponse),
    "StreamingPull": (types.StreamingPullRequest.pb(), StreamingPullResponse),
}
