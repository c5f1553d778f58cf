"""Reports: what goes out in which order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import pytest

from executor.held_job import HeldJob, HeldJobs
from executor.outbox import Outbox
from executor.outcome import ChildDied, Interrupted, Outcome
from executor.report import Reporter
from executor.updates import UpdateWriter
from messaging.errors import NotFoundError
from messaging.leases import LeaseKeeper
from messaging.names import Names
from messaging.pubsub import Outgoing, Received
from messaging.wire import Ping, decode_update
from tests.executor.workflows import launch
from tests.waiting import wait_until

STOPPING = Interrupted(cause="stopping", reason="the executor stops")


class Desk:
    """A reporter, and all that it has brought about."""

    def __init__(self) -> None:
        self.published: list[tuple[str, bytes]] = []
        self.missing: set[str] = set()
        self.outbox = Outbox(self._publish)
        self.jobs = HeldJobs()
        self.keeper = LeaseKeeper(cast(Any, None), "jobs", 60.0, on_lost=lambda _lease: None)
        self.reporter = Reporter(
            updates=UpdateWriter("executor-1", "default"),
            names=Names(),
            events=cast(Any, _NoEvents()),
            outbox=self.outbox,
            keeper=self.keeper,
            jobs=self.jobs,
        )

    def hold(self, number: int) -> HeldJob:
        job = launch(number)
        message = Received(f"ack-{number}", job.encode(), {}, f"m{number}", 0.0, 1)
        held = HeldJob(job, message, self.keeper.hold(job.job, message))
        held.begin(1, "/work")
        self.jobs.add(held)
        return held

    def finish(self) -> list[str]:
        """Publish until no job is held; the topics, in order."""
        self.outbox.start()
        wait_until(lambda: not self.jobs.all(), what="the end of all jobs")
        return [topic for topic, _ in self.published]

    def _publish(self, topic: str, messages: Sequence[Outgoing]) -> None:
        if topic in self.missing:
            raise NotFoundError(f"no topic {topic}")
        self.published += [(topic, message.data) for message in messages]


class _NoEvents:
    def publish(self, event_type: str, **fields: Any) -> None:
        pass


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk()
    yield desk
    desk.outbox.stop(1.0)


def test_the_copy_of_a_job_goes_after_its_release(desk: Desk) -> None:
    desk.outbox.send("portfire-jobs", Outgoing(b"of the same batch"))
    desk.reporter.report(desk.hold(1), STOPPING)
    assert desk.finish() == ["portfire-jobs", "portfire-updates", "portfire-jobs"]


@pytest.mark.parametrize("outcome", [STOPPING, ChildDied(how="was killed")])
def test_without_a_dispatcher_a_job_is_given_back_all_the_same(
    desk: Desk, outcome: Outcome
) -> None:
    desk.missing = {"portfire-updates"}
    desk.reporter.report(desk.hold(1), outcome)
    assert desk.jobs.all()
    assert desk.finish() == (["portfire-jobs"] if outcome is STOPPING else [])


def test_a_ping_says_where_the_launch_runs_and_never_comes_after_its_end(desk: Desk) -> None:
    held = desk.hold(1)
    desk.reporter.ping(held)
    desk.reporter.report(held, STOPPING)
    desk.reporter.ping(held)
    desk.finish()
    updates = [decode_update(data) for topic, data in desk.published if topic.endswith("updates")]
    assert [update.update for update in updates] == ["ping", "released"]
    assert isinstance(updates[0], Ping)
    assert updates[0].host
    assert updates[0].ip
