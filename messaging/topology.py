"""Makes the topics and subscriptions of an installation, where they are missing.

All functions may be called again and again, by several programs at once: what is there already is
left as it is. The first two return whether anything was missing: then whatever was on its way in
Pub/Sub is lost. They raise ServiceError, NotFoundError (the topic of a subscription is missing) and
UsageError (no permission to create).
"""

from __future__ import annotations

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


def ensure_topics(pubsub: PubSub, names: Names, ack_deadline: float = 60.0) -> bool:
    """Make all topics, and the dispatcher's subscriptions to updates and to dead jobs.

    `ack_deadline` is how long, in seconds, what a killed dispatcher had taken stays away. Only jobs
    and updates count as missing: what is lost with another topic stops no job.
    """
    for topic in (names.control, names.events, names.dead_jobs):
        pubsub.create_topic(topic)
    _subscribe_all(pubsub, names.dead_jobs, ack_deadline)
    created = [pubsub.create_topic(topic) for topic in (names.jobs, names.updates)]
    return any([*created, _subscribe_all(pubsub, names.updates, ack_deadline)])


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


def _subscribe_all(pubsub: PubSub, topic: str, ack_deadline: float) -> bool:
    """A subscription, named like the topic, to everything on it."""
    return pubsub.create_subscription(
        topic,
        topic,
        ack_deadline=min(max(ack_deadline, MIN_ACK_DEADLINE), MAX_ACK_DEADLINE),
        min_backoff=MIN_BACKOFF,
        max_backoff=MAX_BACKOFF,
    )


def missing_parts(pubsub: PubSub, names: Names, pool: str) -> list[str]:
    """What is not there of all that a dispatcher needs; for those who may not create it."""
    topics = [names.jobs, names.updates, names.control, names.events]
    subscriptions = [names.updates, names.pool_jobs(pool)]
    return [f"topic {topic}" for topic in topics if not pubsub.topic_exists(topic)] + [
        f"subscription {name}" for name in subscriptions if not pubsub.subscription_exists(name)
    ]
