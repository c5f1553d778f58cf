"""Nobody's job depends on its events: they may have nowhere to go, or not be wanted."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, cast

import pytest

from events.publisher import EventPublisher
from executor.daemon import Executor
from executor.lost_events import LostEvents
from messaging.errors import NotFoundError
from messaging.pubsub import Outgoing, PubSub
from tests.executor.installation import Installation
from tests.executor.workflows import launch, py_task
from tests.waiting import wait_until

Start = Callable[..., Executor]


def test_without_the_events_topic_jobs_go_on_and_the_loss_is_counted_and_shown(
    installation: Installation, start_executor: Start, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    executor = start_executor(heartbeat_seconds=0.2)
    installation.event("executor.ready")
    installation.pubsub.delete_topic(installation.names.events)
    installation.submit(*[launch(number, py_task("time.sleep", 0)) for number in range(1, 6)])
    wait_until(lambda: "events lost so far" in caplog.text, what="a word in the log")
    # Updates have a topic of their own.
    updates: list[Any] = []

    def all_ended() -> bool:
        updates.extend(_finished(installation))
        return len(updates) >= 5

    wait_until(all_ended, what="the end of all jobs")
    installation.pubsub.create_topic(installation.names.events)
    again = installation.names.watcher("again")
    installation.pubsub.create_subscription(again, installation.names.events)
    executor.stop()
    assert executor.running_jobs == 0
    [stopped] = [
        m for m in installation.take(again, 5.0) if m.attributes["type"].endswith("stopped")
    ]
    assert b'"lost_events":' in stopped.data
    assert b'"lost_events":0' not in stopped.data
    assert "events lost in all" in caplog.text


def _finished(installation: Installation) -> list[Any]:
    subscription = installation.names.pool_updates("default")
    return [m for m in installation.take(subscription) if b'"finished"' in m.data]


class NoTopic:
    """Pub/Sub whose events topic is gone."""

    def publish(self, topic: str, messages: list[Outgoing]) -> list[str]:
        raise NotFoundError(f"topic {topic} does not exist ({len(messages)} messages)")


def test_the_log_has_a_line_for_the_first_losses_and_at_each_doubling(
    installation: Installation, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "executor.lost_events")
    events = EventPublisher(cast(PubSub, NoTopic()), installation.names, "tester")
    lost = LostEvents(events)
    for number in range(1, 9):
        events.publish("executor.heartbeat")
        wait_until(lambda number=number: events.lost == number, what="the loss")  # type: ignore[misc]
        lost.look()
    events.close()
    lost.end()
    told = [r.getMessage() for r in caplog.records if r.name == "executor.lost_events"]
    assert [line.split(" (")[0] for line in told] == [
        *(f"events lost so far: {count}" for count in (1, 2, 4, 8)),
        "events lost in all: 8",
    ]


def test_an_executor_that_publishes_no_events_runs_jobs(
    installation: Installation, start_executor: Start
) -> None:
    executor = start_executor(events=False, samples=True, heartbeat_seconds=0.1)
    installation.submit(launch(1, py_task("time.sleep", 0.3)))
    [finished] = installation.finished()
    assert finished.state == "COMPLETED"
    executor.stop()
    installation.read()
    assert installation.events == []
