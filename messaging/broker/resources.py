"""The broker's topics and subscriptions: created, found, changed, listed and deleted by name."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable

from google.protobuf.timestamp_pb2 import Timestamp

from messaging.broker.backlog import Clock
from messaging.broker.delivery import LiveSubscription
from messaging.broker.protocol import Proto, PubsubMessage, Subscription, Topic
from messaging.broker.status import RefusedError, already_exists, invalid, not_found
from messaging.broker.validation import (
    check_filter,
    check_name,
    check_subscription,
    check_topic,
    fill_in,
)

#: What a subscription names as its topic once that is deleted.
DELETED_TOPIC = "_deleted-topic_"
_TOPIC_FIELDS = {"labels", "message_retention_duration", "message_storage_policy", "kms_key_name"}
_SUBSCRIPTION_FIELDS = {
    "ack_deadline_seconds",
    "dead_letter_policy",
    "enable_exactly_once_delivery",
    "expiration_policy",
    "labels",
    "message_retention_duration",
    "push_config",
    "retain_acked_messages",
    "retry_policy",
}


class LiveTopic:
    """A topic's settings and the subscriptions to it."""

    def __init__(self, settings: Proto) -> None:
        self.settings = settings
        self.subscriptions: dict[str, LiveSubscription] = {}


class Resources:
    """Topics and subscriptions by full name. Belongs to one event loop; raises RefusedError."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._topics: dict[str, LiveTopic] = {}
        self._subscriptions: dict[str, LiveSubscription] = {}
        # Ids grow from the wall clock, so that a restarted broker does not repeat them.
        self._message_ids = itertools.count(time.time_ns() // 1000)

    def topic(self, name: str) -> LiveTopic:
        """The topic of this name."""
        topic = self._topics.get(name)
        if topic is None:
            check_name(name, "topics")
            raise not_found(name)
        return topic

    def subscription(self, name: str) -> LiveSubscription:
        """The subscription of this name."""
        subscription = self._subscriptions.get(name)
        if subscription is None:
            check_name(name, "subscriptions")
            raise not_found(name)
        return subscription

    def topic_names(self) -> list[str]:
        """All topics, sorted."""
        return sorted(self._topics)

    def subscription_names(self) -> list[str]:
        """All subscriptions, sorted."""
        return sorted(self._subscriptions)

    def create_topic(self, settings: Proto) -> Proto:
        """Add a topic; returns its settings as they are kept."""
        check_topic(settings)
        if settings.name in self._topics:
            raise already_exists(settings.name)
        settings.state = settings.State.ACTIVE
        self._topics[settings.name] = LiveTopic(settings)
        return settings

    def update_topic(self, settings: Proto, mask: Proto) -> Proto:
        """Change what `mask` names; returns all the settings."""
        topic = self.topic(settings.name)
        updated = _merged(Topic, topic.settings, settings, mask, _TOPIC_FIELDS)
        check_topic(updated)
        topic.settings = updated
        return updated

    def delete_topic(self, name: str) -> None:
        """Remove a topic; its subscriptions stay, with what they hold."""
        for subscription in self.topic(name).subscriptions.values():
            subscription.settings.topic = DELETED_TOPIC
        del self._topics[name]

    def publish(self, name: str, messages: Iterable[Proto]) -> list[str]:
        """Stamp `messages` with ids and a time and hand them out; returns the ids.

        The messages are kept as they are: the caller must not touch them again.
        """
        topic = self.topic(name)
        if not topic.subscriptions:  # as of events that nobody watches
            return [str(next(self._message_ids)) for _ in messages]
        stamp = Timestamp()
        stamp.FromNanoseconds(time.time_ns())
        ids, sized = [], []
        for message in messages:
            message.message_id = message_id = str(next(self._message_ids))
            message.publish_time.CopyFrom(stamp)
            ids.append(message_id)
            sized.append((message, message.ByteSize()))
        # A dead letter may land here from inside a dispatch, hence the copy.
        for subscription in list(topic.subscriptions.values()):
            subscription.publish(sized)
        return ids

    def create_subscription(self, settings: Proto) -> Proto:
        """Add a subscription; returns its settings as they are kept."""
        fill_in(settings)
        check_subscription(settings)
        message_filter = check_filter(settings.filter)
        if settings.name in self._subscriptions:
            raise already_exists(settings.name)
        topic = self.topic(settings.topic)
        self._check_dead_letter_topic(settings)
        name = settings.name
        subscription = LiveSubscription(
            settings,
            message_filter,
            self._clock,
            lambda message, attempts: self._dead_letter(name, message, attempts),
        )
        self._subscriptions[name] = topic.subscriptions[name] = subscription
        return settings

    def update_subscription(self, settings: Proto, mask: Proto) -> Proto:
        """Change what `mask` names; returns all the settings."""
        subscription = self.subscription(settings.name)
        current = subscription.settings
        updated = _merged(Subscription, current, settings, mask, _SUBSCRIPTION_FIELDS)
        fill_in(updated)
        check_subscription(updated)
        self._check_dead_letter_topic(updated)
        subscription.configure(updated)
        return updated

    def delete_subscription(self, name: str) -> None:
        """Remove a subscription with all its messages; calls that wait on it get NOT_FOUND."""
        subscription = self.subscription(name)
        del self._subscriptions[name]
        topic = self._topics.get(subscription.settings.topic)
        if topic is not None:
            topic.subscriptions.pop(name, None)
        subscription.close(not_found(name))

    def close(self, error: RefusedError) -> None:
        """End every waiting call with `error`."""
        for subscription in self._subscriptions.values():
            subscription.close(error)

    def _check_dead_letter_topic(self, settings: Proto) -> None:
        if settings.HasField("dead_letter_policy"):
            self.topic(settings.dead_letter_policy.dead_letter_topic)

    def _dead_letter(self, name: str, message: Proto, attempts: int) -> bool:
        """Forward `message` of subscription `name`; False if its dead-letter topic is gone."""
        settings = self._subscriptions[name].settings
        topic = settings.dead_letter_policy.dead_letter_topic
        if topic not in self._topics:
            return False
        letter = PubsubMessage()
        letter.CopyFrom(message)
        _, project, _, subscription_id = name.split("/")
        prefix = "CloudPubSubDeadLetterSource"
        letter.attributes[f"{prefix}DeliveryCount"] = str(attempts)
        letter.attributes[f"{prefix}Subscription"] = subscription_id
        letter.attributes[f"{prefix}SubscriptionProject"] = project
        letter.attributes[f"{prefix}TopicPublishTime"] = message.publish_time.ToJsonString()
        self.publish(topic, [letter])
        return True


def _merged(kind: Proto, current: Proto, changes: Proto, mask: Proto, allowed: set[str]) -> Proto:
    """A copy of `current` with the fields of `mask` taken from `changes`."""
    if not mask.paths:
        raise invalid("The update_mask must be set and must contain a non-empty paths list.")
    for path in mask.paths:
        field = path.split(".")[0]
        if field not in kind.DESCRIPTOR.fields_by_name or not mask.IsValidForDescriptor(
            kind.DESCRIPTOR
        ):
            raise invalid(f"Invalid update_mask: {path} is not a known field.")
        if field not in allowed:
            raise invalid(f"Invalid update_mask: {path} cannot be changed.")
    merged = kind()
    merged.CopyFrom(current)
    mask.MergeMessage(changes, merged, True, True)
    return merged
