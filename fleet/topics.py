"""The topics and subscriptions of an installation as data, recorded from what the daemons make."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

from fleet.site import Site
from messaging.pubsub import PubSub
from messaging.topology import ensure_dispatcher, ensure_pool


@dataclass(frozen=True)
class Subscription:
    """One subscription; `options` are those of `PubSub.create_subscription`."""

    name: str
    topic: str
    options: dict[str, Any] = field(hash=False)


class _Recorder:
    """Takes the place of `PubSub`, and notes what would be made."""

    def __init__(self) -> None:
        self.topics: dict[str, None] = {}
        self.subscriptions: dict[str, Subscription] = {}

    def create_topic(self, topic: str) -> bool:
        self.topics[topic] = None
        return True

    def create_subscription(self, subscription: str, topic: str, **options: Any) -> bool:
        self.subscriptions[subscription] = Subscription(subscription, topic, options)
        return True


def topics_and_subscriptions(site: Site) -> tuple[list[str], list[Subscription]]:
    """All that dispatchers and executors of these pools would make, so that none of them need."""
    recorder = _Recorder()
    pubsub = cast(PubSub, recorder)
    for pool in site.pools:
        ensure_dispatcher(pubsub, site.names, pool, site.lease_seconds)
        ensure_pool(pubsub, site.names, pool, site.lease_seconds)
    return list(recorder.topics), list(recorder.subscriptions.values())
