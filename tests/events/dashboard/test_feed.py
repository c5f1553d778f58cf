"""What a feed knows: pools, queued jobs, rates, failures."""

from __future__ import annotations

import pytest

from events.dashboard import markup
from events.dashboard.feed import RATE_SECONDS, Feed
from events.dashboard.queued import JobsTopic, QueuedJobs
from events.dashboard.rates import Rates
from events.dashboard.session import following
from events.types import make_event
from messaging.names import Names
from messaging.pubsub import Outgoing, PubSub
from messaging.settings import PubSubSettings
from tests.events.dashboard.bag import (
    bag,
    executor_events,
    executor_id,
    failed_job,
    job_events,
    job_start,
)
from tests.waiting import wait_until

_AT = 1_000_000.0


def test_running_jobs_and_slots_are_counted_by_pool() -> None:
    feed = Feed(clock=lambda: _AT + 5)
    feed.add(executor_events(2, 4, _AT, pool="gpu"))
    feed.add(job_start(1, executor=0, at=_AT))
    feed.add(job_start(2, executor=1, at=_AT))
    feed.add(job_events(3, executor=1, thread=2, at=_AT))
    (pool,) = feed.state().pools
    assert (pool.name, pool.executors, pool.slots, pool.running) == ("gpu", 2, 8, 2)


def test_failures_are_listed_newest_first_with_phase_and_reason() -> None:
    feed = Feed(clock=lambda: _AT + 5)
    feed.add(failed_job(1, at=_AT, reason="first"))
    feed.state()
    feed.add(failed_job(2, at=_AT + 2, reason="second"))
    failures = feed.state().failures
    assert [(run.id, run.phase, run.reason) for run in failures] == [
        ("2", "execution", "second"),
        ("1", "execution", "first"),
    ]


def test_an_executor_that_falls_silent_loses_its_job() -> None:
    now = [_AT]
    feed = Feed(clock=lambda: now[0])
    feed.add(executor_events(1, 1, _AT))
    feed.add(job_start(1, at=_AT))
    now[0] = _AT + 3_600
    state = feed.state()
    assert [executor.state for executor in state.executors] == ["lost"]
    assert [run.state for run in state.failures] == ["lost"]
    assert sum(pool.running for pool in state.pools) == 0


def test_garbage_on_the_topic_is_counted_and_what_follows_is_taken(
    settings: PubSubSettings, names: Names, pubsub: PubSub
) -> None:
    with following(settings) as feed:
        good = job_events(1, at=_AT)
        unknown = {"type": "job.invented", "id": "1", "executor": "e", "timestamp": _AT}
        bodies = [b"garbage", make_event(unknown).encode(), *(event.encode() for event in good)]
        pubsub.publish(names.events, [Outgoing(body, {}) for body in bodies])
        wait_until(lambda: feed.state().counters.completed == 1, what="the job's end")
        wait_until(lambda: feed.state().malformed == 1, what="the garbage counted")
        assert "1 messages" in markup.summary(feed.state())


def test_a_replayed_recording_is_drawn_where_its_events_are() -> None:
    feed = Feed(clock=lambda: _AT)
    assert feed.present() == _AT
    feed.add(job_events(1, at=_AT - 7_200))
    assert feed.present() == _AT - 7_199
    feed.add(job_events(2, at=_AT - 2))
    assert feed.present() == _AT


def test_rates_of_now_are_those_of_the_last_seconds() -> None:
    feed = Feed(clock=lambda: _AT)
    feed.add(job_events(1, at=_AT - 100))
    feed.add(bag(10, executors=1, threads=10, end=_AT - 1))
    recent = feed.state().recent
    assert (recent.completed, recent.failed) == (10, 0)
    assert recent.bytes_in == 10 * 2_000_000
    assert RATE_SECONDS < 100


def test_a_long_transfer_counts_as_it_goes_on_and_once() -> None:
    rates = Rates()
    for seconds, kind, count in (
        (10, "progress", 100),
        (20, "progress", 250),
        (25, "finished", 300),
    ):
        rates.see(
            make_event(
                {
                    "type": f"job.stage-in.{kind}",
                    "id": "1",
                    "executor": "e",
                    "timestamp": _AT + seconds,
                    "bytes": count,
                }
            )
        )
    assert [rates.over(_AT + start, _AT + start + 10).bytes_in for start in (5, 15, 25)] == [
        100,
        150,
        50,
    ]


def test_a_series_holds_every_job_whatever_its_resolution() -> None:
    rates = Rates()
    for event in bag(100, executors=1, threads=10, end=_AT):
        rates.see(event)
    for points in (5, 50, 500):
        series = rates.series(_AT - 60, _AT + 10, points)
        assert len(series.time) <= points + 2
        step = series.time[1] - series.time[0]
        assert sum(series.completed) * step == pytest.approx(100)


def test_a_job_waits_from_its_announcement_to_its_start() -> None:
    queued = QueuedJobs()
    queued.announced("1", "gpu", _AT)
    queued.announced("2", "default", _AT)
    assert queued.by_pool() == {"gpu": 1, "default": 1}
    for event in job_start(1, at=_AT + 10):
        queued.see(event)
    assert queued.by_pool() == {"default": 1}


def test_a_job_whose_announcement_comes_late_does_not_wait() -> None:
    queued = QueuedJobs()
    for event in job_events(1, at=_AT + 1):
        queued.see(event)
    queued.announced("1", "default", _AT)
    assert not queued.by_pool()


def test_a_job_that_was_given_back_waits_again() -> None:
    queued = QueuedJobs()
    for event in (*executor_events(1, 1, _AT, pool="gpu"), *job_start(1, at=_AT)):
        queued.see(event)
    released = {"type": "job.released", "id": "1", "executor": executor_id(0), "timestamp": _AT + 9}
    queued.see(make_event(released))
    assert queued.by_pool() == {"gpu": 1}
    queued.announced("1", "gpu", _AT + 9)
    assert queued.by_pool() == {"gpu": 1}


def test_the_jobs_topic_tells_what_waits_and_takes_no_job_away(
    settings: PubSubSettings, names: Names, pubsub: PubSub
) -> None:
    queued = QueuedJobs()
    topic = JobsTopic(settings.connect(), names, queued)
    topic.start()
    try:
        assert "not there yet" in topic.problem
        pubsub.create_topic(names.jobs)
        pubsub.create_subscription(names.pool_jobs("gpu"), names.jobs)
        wait_until(lambda: not topic.problem, what="the subscription")
        pubsub.publish(
            names.jobs,
            [Outgoing(b"{}", {"job": str(number), "pool": "gpu"}) for number in range(3)],
        )
        wait_until(lambda: queued.by_pool() == {"gpu": 3}, what="three waiting jobs")
        assert len(pubsub.pull(names.pool_jobs("gpu"), 10, 10.0)) == 3
    finally:
        topic.close()
