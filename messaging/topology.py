"""Makes the topics and subscriptions of an installation, where they are missing.

All functions may be called again and again, by several programs at once: what is there already is
left as it is. They raise ServiceError, NotFoundError (the topic of a subscription is missing) and
UsageError (no permission to create).
"""

from __future__ import annotations

from dataclasses import dataclass

from messaging.names import Names, pool_filter
from messaging.pubsub import PubSub

#: Deliveries after which Pub/Sub moves a job to the dead-letter topic: the most that it allows.
#: Executors give up on a job long before (`LaunchJob.max_attempts`); this is for jobs that no
#: executor could even read.
DEAD_LETTER_ATTEMPTS = 100
#: Seconds before a job that crashed its executor is delivered again.
MIN_BACKOFF = 1.0
MAX_BACKOFF = 60.0
#: Seconds after which the control subscription of an executor that vanished is removed; a day is
#: the least that Pub/Sub allows.
CONTROL_EXPIRY = 86_400.0
#: Pub/Sub takes ack deadlines from 10 to 600 seconds.
MIN_ACK_DEADLINE = 10.0
MAX_ACK_DEADLINE = 600.0


def ensure_dispatcher(pubsub: PubSub, names: Names, pool: str, lease_seconds: float) -> None:
    """Make every topic, and the subscriptions of the dispatcher of `pool`."""
    for topic in (names.jobs, names.updates, names.control, names.events, names.dead_jobs):
        pubsub.create_topic(topic)
    _subscribe(pubsub, names.pool_dead_jobs(pool), names.dead_jobs, pool, lease_seconds)
    _subscribe(pubsub, names.pool_updates(pool), names.updates, pool, lease_seconds)


def ensure_executor(pubsub: PubSub, names: Names, pool: str, lease_seconds: float) -> bool:
    """Make what executors of `pool` can do without a dispatcher (raw jobs need none).

    Not the updates topic: until the dispatcher has made it, with its subscription, an update must
    not get lost but fail, and be sent again. True when the pool's subscription was missing.
    """
    for topic in (names.jobs, names.control, names.events, names.dead_jobs):
        pubsub.create_topic(topic)
    return ensure_pool(pubsub, names, pool, lease_seconds)


def ensure_pool(pubsub: PubSub, names: Names, pool: str, lease_seconds: float) -> bool:
    """Make the subscription from which the executors of `pool` pull; it never expires."""
    return pubsub.create_subscription(
        names.pool_jobs(pool),
        names.jobs,
        filter=pool_filter(pool),
        ack_deadline=min(max(lease_seconds, MIN_ACK_DEADLINE), MAX_ACK_DEADLINE),
        dead_letter_topic=names.dead_jobs,
        max_delivery_attempts=DEAD_LETTER_ATTEMPTS,
        min_backoff=MIN_BACKOFF,
        max_backoff=MAX_BACKOFF,
    )


def ensure_control(pubsub: PubSub, names: Names, executor: str) -> None:
    """Make the subscription through which one executor hears of cancelled jobs."""
    pubsub.create_subscription(
        names.executor_control(executor),
        names.control,
        filter=f'attributes.executor = "{executor}" OR NOT attributes:executor',
        expire_after=CONTROL_EXPIRY,
    )


def _subscribe(
    pubsub: PubSub, subscription: str, topic: str, pool: str, lease_seconds: float
) -> None:
    """A pool's subscription for its dispatcher.

    The ack deadline is how long what a killed dispatcher had taken stays away.
    """
    pubsub.create_subscription(
        subscription,
        topic,
        filter=pool_filter(pool),
        ack_deadline=min(max(lease_seconds, MIN_ACK_DEADLINE), MAX_ACK_DEADLINE),
        min_backoff=MIN_BACKOFF,
        max_backoff=MAX_BACKOFF,
    )


@dataclass(frozen=True)
class MissingPart:
    """A topic or subscription that is not there."""

    what: str
    #: Whether jobs or updates were lost with it, if it had been there before.
    loses_jobs: bool


def missing_parts(pubsub: PubSub, names: Names, pool: str) -> list[MissingPart]:
    """What is not there of all that a dispatcher needs."""
    topics = {
        names.jobs: True,
        names.updates: True,
        names.control: False,
        names.events: False,
        names.dead_jobs: False,
    }
    subscriptions = {
        names.pool_updates(pool): True,
        names.pool_jobs(pool): True,
        names.pool_dead_jobs(pool): False,
    }
    missing = [
        MissingPart(f"topic {topic}", loses_jobs)
        for topic, loses_jobs in topics.items()
        if not pubsub.topic_exists(topic)
    ]
    return missing + [
        MissingPart(f"subscription {subscription}", loses_jobs)
        for subscription, loses_jobs in subscriptions.items()
        if not pubsub.subscription_exists(subscription)
    ]
