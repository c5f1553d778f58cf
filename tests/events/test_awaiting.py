"""``async for event in subscribe(...)``: the loop stays free, and no event is lost."""

from __future__ import annotations

import asyncio
import threading

import pytest

from events.subscriber import Subscription, subscribe
from events.types import Event
from messaging.errors import UsageError
from messaging.names import Names
from messaging.pubsub import PubSub
from messaging.settings import PubSubSettings
from tests.events.recordings import job_events, publish

#: Seconds after which a test has failed.
LIMIT = 30.0


def test_events_come_while_the_loop_does_other_things(
    settings: PubSubSettings, pubsub: PubSub, names: Names
) -> None:
    async def watch(subscription: Subscription) -> list[Event]:
        found = []
        async for event in subscription:
            found.append(event)
            if len(found) == 3:
                await asyncio.to_thread(subscription.close)
        return found

    async def main() -> list[Event]:
        async with subscribe(settings) as subscription:
            watching = asyncio.create_task(watch(subscription))
            for event in job_events("a", 3):
                await asyncio.to_thread(publish, pubsub, names.events, [event])
            found = await asyncio.wait_for(watching, LIMIT)
        assert not pubsub.subscription_exists(subscription.id)
        return found

    assert asyncio.run(main()) == job_events("a", 3)


def test_a_cancelled_wait_loses_no_event(
    settings: PubSubSettings, pubsub: PubSub, names: Names
) -> None:
    async def main() -> list[Event]:
        async with subscribe(settings) as subscription:
            events = aiter(subscription)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(anext(events), 0.1)
            publish(pubsub, names.events, job_events("a", 2))
            return [await asyncio.wait_for(anext(aiter(subscription)), LIMIT) for _ in range(2)]

    assert asyncio.run(main()) == job_events("a", 2)


def test_the_end_of_the_loop_does_not_wait_for_a_pull(
    settings: PubSubSettings, pubsub: PubSub, names: Names
) -> None:
    async def first(subscription: Subscription) -> str:
        async for event in subscription:
            return event.type
        raise AssertionError("no event came")

    subscription = subscribe(settings)
    publish(pubsub, names.events, [Event(type="executor.ready", executor="e")])
    found: list[str] = []
    # Left without closing: a pull may still be waiting.
    loop = threading.Thread(target=lambda: found.append(asyncio.run(first(subscription))))
    loop.start()
    loop.join(LIMIT)
    assert found == ["executor.ready"]
    subscription.close()


def test_what_pubsub_refuses_reaches_the_one_who_waits(
    settings: PubSubSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with subscribe(settings) as subscription:

            def refused(_timeout: float) -> list[Event]:
                raise UsageError("no permission")

            monkeypatch.setattr(subscription._feed, "pull", refused)
            with pytest.raises(UsageError, match="no permission"):
                await asyncio.wait_for(anext(aiter(subscription)), LIMIT)

    asyncio.run(main())
