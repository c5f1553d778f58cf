"""What went wrong between LaunchPad and Pub/Sub is found, put right, and said."""

from __future__ import annotations

import time
from typing import Any

import pytest
from fireworks import LaunchPad

from dispatcher.counts import Counts
from dispatcher.courier import Courier, Parcel
from dispatcher.in_flight import InFlightTable
from dispatcher.launch_documents import NOTE, attempt_of
from dispatcher.outbox import Outbox
from dispatcher.reconciliation import Reconciliation, Running
from dispatcher.updates import Verdict
from messaging.names import Names
from messaging.pubsub import PubSub
from messaging.wire import Cancel, LaunchJob
from tests.dispatcher.workbench import Workbench, finished, firework, ping, started


class _Sent(Outbox):
    """Keeps what is sent."""

    def __init__(self) -> None:
        super().__init__(PubSub("tests", "127.0.0.1:1"), Names("tests"))
        self.attempts: list[int] = []
        self.cancelled: list[str] = []

    def publish_jobs(self, jobs: Any) -> list[str]:
        self.attempts += [job.attempt for job in jobs if isinstance(job, LaunchJob)]
        return [f"message-{job.launch_id}" for job in jobs]

    def cancel(self, cancel: Cancel, executor: str | None = None) -> None:
        assert executor is None
        self.cancelled.append(cancel.job)


class _Site:
    """A dispatcher's checks on a workbench."""

    def __init__(self, bench: Workbench, dispatcher: str) -> None:
        self.bench = bench
        bench.claimant.dispatcher = self.me = dispatcher
        self.table = InFlightTable()
        self.sent = _Sent()
        self.refused: list[str] = []
        self.courier = Courier(bench.claims, self.sent, self.table, 3, self._refuse)
        self.checks = Reconciliation(
            bench.launchpad,
            bench.store,
            bench.held,
            self.courier,
            self.table,
            self.sent,
            Counts(),
            max_attempts=3,
            refuse=self._refuse,
        )

    def claim(self) -> None:
        """Claim and publish."""
        self.courier.take(self.bench.claims.claim(10))
        self.courier.deliver()

    def adopt(self, *living: str, losses: int = 0) -> None:
        """Look for orphans, and publish what must be."""
        running = Running.SUSPECT
        self.checks.adopt_orphans(self.bench.held.all(), {self.me, *living}, losses, running)
        self.courier.deliver()

    def _refuse(self, _: Parcel, reason: str) -> bool:
        self.refused.append(reason)
        return True


@pytest.fixture
def first(launchpad: LaunchPad) -> _Site:
    launchpad.add_wf(firework("it"))
    return _Site(Workbench(launchpad), "first")


@pytest.fixture
def second(launchpad: LaunchPad) -> _Site:
    return _Site(Workbench(launchpad), "second")


def test_what_a_living_colleague_holds_is_left_alone(first: _Site, second: _Site) -> None:
    first.claim()
    second.adopt("first")
    assert (len(second.table), second.sent.attempts) == (0, [])
    second.adopt()
    assert (len(second.table), second.sent.attempts) == (1, [])
    first.adopt("second")
    assert len(second.table) == 1


def test_a_claim_that_a_dead_one_never_published_is_a_new_attempt(
    first: _Site, second: _Site
) -> None:
    claims = first.bench.claims.claim(10)
    second.adopt()
    assert second.sent.attempts == [2]
    first.courier.take(claims)
    first.courier.deliver()  # it was only stopped, and wakes
    assert attempt_of(first.bench.launch(claims[0])) == 2


def test_what_was_published_before_a_loss_is_published_again(first: _Site, second: _Site) -> None:
    first.claim()
    second.bench.claimant.losses = 1
    second.adopt(losses=1)
    assert second.sent.attempts == [2]
    third = _Site(Workbench(second.bench.launchpad), "third")
    third.bench.claimant.losses = 1
    third.adopt(losses=1)  # published since
    assert (third.sent.attempts, len(third.table)) == ([], 1)


def test_what_runs_in_silence_is_published_again_and_given_up_at_last(
    first: _Site, caplog: pytest.LogCaptureFixture
) -> None:
    first.claim()
    [claim] = first.bench.held.load(first.bench.held.ids())
    for attempt in (2, 3):
        first.bench.updates.start(started(claim, attempt - 1))
        first.table.hear(
            claim.launch_id, attempt - 1, time.monotonic() - 200.0, running=True, executor="e"
        )
        first.checks.republish_silent(300.0)
        assert first.sent.attempts[-1] == attempt - 1
        first.checks.republish_silent(100.0)
        first.courier.deliver()
        assert first.sent.attempts[-1] == attempt
    assert "nothing was heard of it for 100 s" in caplog.text
    first.bench.updates.start(started(claim, 3))
    first.table.hear(claim.launch_id, 3, time.monotonic() - 200.0, running=True, executor="e")
    first.checks.republish_silent(100.0)
    assert len(first.sent.attempts) == 3
    assert "given up after 3 times" in first.refused[0]


def test_an_older_attempts_late_ping_does_not_keep_a_lost_job_from_being_published_again(
    first: _Site,
) -> None:
    first.claim()
    [claim] = first.bench.held.load(first.bench.held.ids())
    first.bench.updates.start(started(claim))
    long_ago = time.monotonic() - 200.0
    first.table.hear(claim.launch_id, 1, long_ago, running=True, executor="cut off")
    first.checks.republish_silent(100.0)
    first.courier.deliver()
    first.table.hear(claim.launch_id, 2, long_ago, running=True, executor="dead, as its message")
    first.table.hear(claim.launch_id, 1, time.monotonic(), running=True, executor="cut off")
    assert first.bench.updates.ping(ping(claim, 1)) is Verdict.UNWANTED
    first.checks.keep_up(first.bench.held.all())
    first.checks.republish_silent(100.0)
    first.courier.deliver()
    assert first.sent.attempts == [1, 2, 3]


def test_an_executors_word_to_a_colleague_ends_the_silence(first: _Site, second: _Site) -> None:
    first.claim()
    [claim] = first.bench.held.load(first.bench.held.ids())
    second.bench.updates.start(started(claim))
    first.checks.keep_up(first.bench.held.all())
    [entry] = first.table
    assert entry.running
    first.table.suspect_all(time.monotonic() - 200.0)
    second.bench.updates.ping(ping(claim))
    first.checks.keep_up(first.bench.held.all())
    assert first.table.lost(time.monotonic(), 100.0) == []
    assert first.table.silent(time.monotonic(), 100.0) == []


def test_a_job_older_than_pubsub_keeps_messages_is_published_again(first: _Site) -> None:
    first.claim()
    first.checks.republish_old(1000.0)
    assert len(first.courier) == 0
    launches = first.bench.launchpad.launches
    old = {f"state_history.0.{NOTE}.published": time.time() - 1001.0}
    launches.update_one({}, {"$set": old})
    first.checks.republish_old(1000.0)
    first.courier.deliver()
    assert first.sent.attempts == [1, 2]
    first.checks.republish_old(1000.0)
    assert len(first.courier) == 0


def test_a_firework_reserved_by_a_launch_that_is_gone_is_ready_again(first: _Site) -> None:
    first.claim()
    first.checks.mend_launchless()
    assert first.bench.state("it") == "RESERVED"
    first.bench.launchpad.launches.delete_many({})
    first.checks.mend_launchless()
    assert first.bench.state("it") == "READY"


def test_what_a_colleague_has_ended_is_not_cancelled(first: _Site, second: _Site) -> None:
    first.bench.launchpad.add_wf(firework("other"))
    first.claim()
    one, other = first.bench.held.load(first.bench.held.ids())
    second.bench.updates.finish(finished(one))
    first.bench.launchpad.defuse_fw(other.fw_id)
    first.checks.cancel_unwanted()
    assert first.sent.cancelled == [other.job_id]
    assert len(first.table) == 0
