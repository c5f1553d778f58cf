"""What `subscribe` gives: a job's events in their order, from wherever the environment says."""

from __future__ import annotations

import threading

import pytest

import portfire
from events.subscriber import subscribe
from events.types import Event, ExecutorReady, JobEvent
from messaging.names import Names
from messaging.pubsub import PubSub
from messaging.settings import PubSubSettings
from tests.events.recordings import job_events, publish
from tests.waiting import wait_until


def numbers(events: list[Event]) -> list[str]:
    return [f"{event.job}{event.seq}" for event in events if isinstance(event, JobEvent)]


def test_events_of_a_job_come_in_order_without_repeats(
    settings: PubSubSettings, pubsub: PubSub, names: Names
) -> None:
    one, two, three = job_events("a", 3)
    with subscribe(settings, patience=60.0) as subscription:
        publish(pubsub, names.events, [three, *job_events("b", 1), one, three, two, one])
        found: list[Event] = []

        def all_came() -> bool:
            found.extend(subscription.receive(1.0))
            return len(found) == 4

        wait_until(all_came, what="four events")
        assert numbers(found) == ["b1", "a1", "a2", "a3"]
        assert subscription.receive(0.2) == []


def test_an_event_that_never_comes_is_not_waited_for_for_long(
    settings: PubSubSettings, pubsub: PubSub, names: Names
) -> None:
    with subscribe(settings, patience=0.2) as subscription:
        publish(pubsub, names.events, job_events("a", 3)[1:])
        # One call: it wakes for what is overdue, long before its own time is up.
        assert numbers(subscription.receive(60.0)) == ["a2", "a3"]


@pytest.mark.parametrize(
    ("filter_", "waits"),
    [
        ("", True),
        ('attributes.job = "a" AND attributes:"executor"', True),
        ('attributes.type = "job.started"', False),
        ('attributes.job = "a" AND NOT hasPrefix(attributes.routing_key, "job.a.st")', False),
    ],
)
def test_a_filter_that_splits_jobs_makes_nothing_wait(
    settings: PubSubSettings, filter_: str, waits: bool
) -> None:
    with subscribe(settings, filter=filter_) as subscription:
        order = subscription._order
        assert (order.add(job_events("a", 2)[1:]) == []) == waits


def test_closing_gives_what_waited(settings: PubSubSettings, pubsub: PubSub, names: Names) -> None:
    subscription = subscribe(settings, patience=600.0)
    seen: list[Event] = []
    reader = threading.Thread(target=lambda: seen.extend(subscription))
    reader.start()
    publish(pubsub, names.events, [*job_events("b", 3)[1:], *job_events("a", 1)])
    wait_until(lambda: len(seen) == 1, what="the event that need not wait")
    subscription.close()
    reader.join(20)
    assert numbers(seen) == ["a1", "b2", "b3"]


def test_without_a_source_the_environment_says_where(
    settings: PubSubSettings, monkeypatch: pytest.MonkeyPatch, pubsub: PubSub
) -> None:
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", str(settings.emulator_host))
    monkeypatch.setenv("PORTFIRE_PREFIX", settings.prefix)
    with portfire.subscribe(filter='attributes.type = "executor.ready"') as subscription:
        ready = ExecutorReady(executor="e")
        publish(pubsub, settings.names.events, [ready])
        assert subscription.receive(60.0) == [ready]
