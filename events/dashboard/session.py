"""What all ways of watching stand on: a feed that follows an installation's topics."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from events.dashboard.feed import Feed
from events.dashboard.queued import JobsTopic
from events.subscriber import subscribe
from messaging.settings import PubSubSettings


@contextlib.contextmanager
def following(settings: PubSubSettings) -> Iterator[Feed]:
    """Within the block the feed takes every event; its subscriptions are deleted at the end.

    Raises UsageError (no permission, missing settings) and ServiceError (Pub/Sub is away at the
    start).
    """
    feed = Feed()
    with subscribe(settings) as subscription:
        jobs = JobsTopic(settings.connect(), settings.names, feed.queued)
        jobs.start()
        feed.queue_problem = lambda: jobs.problem
        thread = threading.Thread(
            target=feed.follow, args=(subscription,), name="monitor-feed", daemon=True
        )
        thread.start()
        try:
            yield feed
        finally:
            jobs.close()
            subscription.close()
            thread.join(timeout=5.0)
