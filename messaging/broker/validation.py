"""What a request may say: names, bounds and sizes, with production's limits.

Every function here raises `RefusedError` (INVALID_ARGUMENT unless it says otherwise) naming the
value that was passed and what is allowed.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable

from messaging.broker.backlog import ACK_ID_PREFIX
from messaging.broker.protocol import Proto
from messaging.broker.status import invalid, unimplemented
from messaging.errors import UsageError
from messaging.filters import Filter, parse_filter

MAX_PUBLISH_BYTES = 10_000_000
MAX_PUBLISH_MESSAGES = 1000
MAX_ATTRIBUTES = 100
MAX_KEY_BYTES = 256
MAX_VALUE_BYTES = 1024
MAX_ACK_DEADLINE = 600
DEFAULT_ACK_DEADLINE = 10
DEFAULT_ATTEMPTS = 5
DEFAULT_BACKOFF = (10, 600)
DEFAULT_RETENTION = 7 * 86400
DEFAULT_EXPIRATION = 31 * 86400

_NAME = re.compile(r"projects/[^/]+/(topics|subscriptions)/([A-Za-z][A-Za-z0-9._~+%-]{2,254})")


def check_name(name: str, collection: str) -> None:
    """`name` is ``projects/PROJECT/COLLECTION/ID`` with an id of 3 to 255 allowed characters."""
    match = _NAME.fullmatch(name)
    if match is None or match[1] != collection or match[2].startswith("goog"):
        raise invalid(
            f"Invalid resource name given (name={name}). Expected "
            f"projects/PROJECT/{collection}/ID, the id starting with a letter and not with 'goog', "
            "with 3 to 255 letters, digits and -._~+%."
        )


def check_project(project: str) -> None:
    """`project` is ``projects/PROJECT``."""
    if not re.fullmatch(r"projects/[^/]+", project):
        raise invalid(f"Invalid resource name given (name={project}). Expected projects/PROJECT.")


def check_publish(request: Proto, size: int) -> None:
    """A PublishRequest of `size` bytes on the wire."""
    if size > MAX_PUBLISH_BYTES:
        raise invalid(
            f"The value for request_size is too large. You passed {size} in the request, "
            f"but the maximum value is {MAX_PUBLISH_BYTES}."
        )
    count = len(request.messages)
    if not 1 <= count <= MAX_PUBLISH_MESSAGES:
        raise invalid(
            f"The value for message_count is out of bounds. You passed {count} in the request, "
            f"but the value must be between 1 and {MAX_PUBLISH_MESSAGES}."
        )
    for message in request.messages:
        if message.attributes:
            _check_attributes(message.attributes)
            # Hardly any has room for such a value.
            if message.ByteSize() - len(message.data) > MAX_VALUE_BYTES:
                _check_values(message.attributes)
        elif not message.data:
            raise invalid("Some messages are empty: a message needs data or an attribute.")


def _check_attributes(attributes: Proto) -> None:
    if len(attributes) > MAX_ATTRIBUTES:
        raise invalid(
            f"The value for attribute_count is too large. You passed {len(attributes)} in the "
            f"request, but the maximum value is {MAX_ATTRIBUTES}."
        )
    for key in attributes:
        if not _is_key(key):
            raise invalid(
                f"Invalid attribute key {key[:40]!r}: it must have 1 to {MAX_KEY_BYTES} bytes "
                "and not start with 'goog'."
            )


def _check_values(attributes: Proto) -> None:
    for key, value in attributes.items():
        if len(value) * 4 > MAX_VALUE_BYTES and len(value.encode()) > MAX_VALUE_BYTES:
            raise invalid(
                f"The value of attribute {key!r} is too long: the maximum is {MAX_VALUE_BYTES} "
                "bytes."
            )


@functools.lru_cache(maxsize=1000)  # messages come by the thousand, with the same few keys
def _is_key(key: str) -> bool:
    return 0 < len(key.encode()) <= MAX_KEY_BYTES and not key.startswith("goog")


def check_ack_ids(ack_ids: Iterable[str]) -> None:
    """At least one id, and all made by some broker (though perhaps long stale)."""
    if not ack_ids:
        raise invalid("No ack ids specified.")
    for ack_id in ack_ids:
        if not ack_id.startswith(ACK_ID_PREFIX):
            raise invalid(f"Invalid ack id (ack_id={ack_id[:80]}).")


def check_extension(seconds: int) -> None:
    """An ack deadline for messages already delivered."""
    if not 0 <= seconds <= MAX_ACK_DEADLINE:
        raise _out_of_bounds("ack_deadline_seconds", seconds, 0, MAX_ACK_DEADLINE)


def check_ack_deadline(seconds: int, field: str = "ack_deadline_seconds") -> None:
    """An ack deadline for messages to come."""
    if not DEFAULT_ACK_DEADLINE <= seconds <= MAX_ACK_DEADLINE:
        raise _out_of_bounds(field, seconds, DEFAULT_ACK_DEADLINE, MAX_ACK_DEADLINE)


def check_filter(text: str) -> Filter:
    """A subscription's filter, parsed."""
    try:
        return parse_filter(text)
    except UsageError as exc:
        raise invalid(f"Invalid filter: {exc}") from exc


def check_topic(topic: Proto) -> None:
    """A topic's settings; UNIMPLEMENTED for what only production does."""
    check_name(topic.name, "topics")
    for feature in ("schema_settings", "ingestion_data_source_settings"):
        if topic.HasField(feature):
            raise unimplemented(feature)
    if topic.message_transforms:
        raise unimplemented("message_transforms")


def check_subscription(subscription: Proto) -> None:
    """A subscription's settings, after `fill_in`; UNIMPLEMENTED for what only production does."""
    check_name(subscription.name, "subscriptions")
    if subscription.push_config.push_endpoint:
        raise unimplemented("push subscriptions")
    for feature in ("bigquery_config", "cloud_storage_config", "bigtable_config"):
        if subscription.HasField(feature):
            raise unimplemented(feature)
    if subscription.enable_message_ordering or subscription.message_transforms:
        raise unimplemented("message ordering and message transforms")
    check_ack_deadline(subscription.ack_deadline_seconds)
    retention = subscription.message_retention_duration.seconds
    if not 600 <= retention <= DEFAULT_EXPIRATION:
        raise _out_of_bounds("message_retention_duration", retention, 600, DEFAULT_EXPIRATION)
    if subscription.HasField("dead_letter_policy"):
        _check_dead_letter(subscription.dead_letter_policy)
    if subscription.HasField("retry_policy"):
        _check_retry(subscription.retry_policy)


def _check_dead_letter(policy: Proto) -> None:
    check_name(policy.dead_letter_topic, "topics")
    if not 5 <= policy.max_delivery_attempts <= 100:
        raise _out_of_bounds("max_delivery_attempts", policy.max_delivery_attempts, 5, 100)


def _check_retry(policy: Proto) -> None:
    low, high = policy.minimum_backoff.ToTimedelta(), policy.maximum_backoff.ToTimedelta()
    for field, value in (("minimum_backoff", low), ("maximum_backoff", high)):
        if not 0 <= value.total_seconds() <= 600:
            raise _out_of_bounds(field, value.total_seconds(), 0, 600)
    if high < low:
        raise invalid(
            f"The value for maximum_backoff is too small. You passed {high.total_seconds()} in "
            f"the request, but the minimum value is {low.total_seconds()}."
        )


def _out_of_bounds(field: str, value: float, low: float, high: float) -> Exception:
    return invalid(
        f"The value for {field} is out of bounds. You passed {value} in the request, "
        f"but the value must be between {low} and {high}."
    )


def fill_in(subscription: Proto) -> None:
    """Set what a new or updated subscription left to the service's defaults."""
    if not subscription.ack_deadline_seconds:
        subscription.ack_deadline_seconds = DEFAULT_ACK_DEADLINE
    if not subscription.HasField("message_retention_duration"):
        subscription.message_retention_duration.seconds = DEFAULT_RETENTION
    if not subscription.HasField("expiration_policy"):
        subscription.expiration_policy.ttl.seconds = DEFAULT_EXPIRATION
    if subscription.HasField("dead_letter_policy"):
        policy = subscription.dead_letter_policy
        policy.max_delivery_attempts = policy.max_delivery_attempts or DEFAULT_ATTEMPTS
    if subscription.HasField("retry_policy"):
        retry, (low, high) = subscription.retry_policy, DEFAULT_BACKOFF
        if not retry.HasField("minimum_backoff"):
            retry.minimum_backoff.seconds = low
        if not retry.HasField("maximum_backoff"):
            retry.maximum_backoff.seconds = high
    subscription.push_config.SetInParent()
    subscription.state = subscription.State.ACTIVE
