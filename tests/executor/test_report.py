"""Reports: what goes out in which order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import pytest

from executor.held_job import HeldJob, HeldJobs, key_of
from executor.outbox import Outbox
from executor.outcome import ChildDied, Interrupted, LaunchEnded, Outcome, RawEnded, fizzled
from executor.report import Policy, Reporter
from executor.updates import UpdateWriter
from messaging.errors import NotFoundError
from messaging.leases import LeaseKeeper
from messaging.names import Names
from messaging.pubsub import Outgoing, Received
from messaging.wire import (
    Finished,
    LaunchJob,
    Ping,
    RawJob,
    Released,
    Reply,
    decode_job,
    decode_reply,
    decode_update,
)
from tests.executor.workflows import launch
from tests.waiting import wait_until

STOPPING = Interrupted(cause="stopping", reason="the executor stops")


class Desk:
    """A reporter, and all that it has brought about."""

    def __init__(self, on_outage: Policy = "retry") -> None:
        self.published: list[tuple[str, bytes]] = []
        self.missing: set[str] = set()
        self.outbox = Outbox(self._publish)
        self.jobs = HeldJobs()
        self.service = _Service()
        self.keeper = LeaseKeeper(self.service, "jobs", 60.0, on_lost=lambda _lease: None)
        self.reporter = Reporter(
            updates=UpdateWriter("executor-1", "default"),
            names=Names(),
            events=cast(Any, _NoEvents()),
            outbox=self.outbox,
            keeper=self.keeper,
            jobs=self.jobs,
            on_outage=on_outage,
        )

    def hold(
        self, number: int, job: LaunchJob | RawJob | None = None, *, delivery: int = 1
    ) -> HeldJob:
        job = job or launch(number)
        attributes = {"pool": "default", "reply_to": "box"}
        message = Received(f"ack-{number}", job.encode(), attributes, f"m{number}", 0.0, delivery)
        held = HeldJob(job, message, self.keeper.hold(f"job-{number}", message))
        held.begin(1, "/work")
        self.jobs.add(held)
        return held

    def finish(self) -> list[str]:
        """Publish until no job is held; the topics, in order."""
        self.outbox.start()
        wait_until(lambda: not self.jobs.all(), what="the end of all jobs")
        return [topic for topic, _ in self.published]

    def given_back(self) -> list[str]:
        """Ack ids of the deliveries that were given back."""
        self.keeper.settle()
        return self.service.given_back

    def sent(self, topic: str) -> list[bytes]:
        """What was published there."""
        return [data for where, data in self.published if where == topic]

    def _publish(self, topic: str, messages: Sequence[Outgoing]) -> None:
        if topic in self.missing:
            raise NotFoundError(f"no topic {topic}")
        self.published += [(topic, message.data) for message in messages]


class _Service:
    def __init__(self) -> None:
        self.given_back: list[str] = []

    def acknowledge(self, subscription: str, ack_ids: Sequence[str]) -> None:
        pass

    def extend(self, subscription: str, ack_ids: Sequence[str], seconds: float) -> None:
        assert (subscription, seconds) == ("jobs", 0)
        self.given_back += ack_ids


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


def outage(reason: str = "the store is away") -> LaunchEnded:
    return fizzled(reason, phase="stage-in", retry="infrastructure")


def out_of_memory() -> LaunchEnded:
    reason = "out of memory with 4 bytes; runs again with 8 bytes"
    return fizzled(reason, phase="execution", retry="memory")


@pytest.mark.parametrize("delivery", [1, 4])
def test_an_outage_gives_the_job_back_until_its_last_attempt(desk: Desk, delivery: int) -> None:
    desk.reporter.report(desk.hold(1, delivery=delivery), outage())
    assert desk.finish() == ["portfire-updates"]
    released = decode_update(desk.published[0][1])
    assert isinstance(released, Released)
    assert released.reason == (f"the store is away; delivery {delivery} of 5, it will run again")
    assert desk.given_back() == ["ack-1"]


@pytest.mark.parametrize(
    ("delivery", "reason"),
    [
        (5, "the store is away; given up after 5 attempts"),
        # Nobody counts: it would run for ever.
        (0, "the store is away"),
    ],
)
def test_an_outage_at_the_last_attempt_fizzles(desk: Desk, delivery: int, reason: str) -> None:
    desk.reporter.report(desk.hold(1, delivery=delivery), outage())
    assert desk.finish() == ["portfire-updates"]
    finished = decode_update(desk.published[0][1])
    assert isinstance(finished, Finished)
    assert finished.state == "FIZZLED"
    assert finished.action["stored_data"]["_message"] == reason
    assert desk.given_back() == []


def test_the_reason_of_a_task_that_is_given_up_says_so(desk: Desk) -> None:
    details = {"phase": "stage-in", "reason": "away", "retry": True}
    stored = {"_message": "runtime error", "_exception": {"_details": details}}
    ended = LaunchEnded(
        state="FIZZLED", action={"stored_data": stored}, reason="away", retry="infrastructure"
    )
    desk.reporter.report(desk.hold(1, delivery=5), ended)
    desk.finish()
    finished = decode_update(desk.published[0][1])
    assert isinstance(finished, Finished)
    told = finished.action["stored_data"]
    assert told["_exception"]["_details"]["reason"] == "away; given up after 5 attempts"
    assert told["_message"] == "runtime error"


def test_an_outage_fizzles_at_once_where_the_settings_say_so() -> None:
    desk = Desk(on_outage="fizzle")
    desk.reporter.report(desk.hold(1), outage())
    desk.finish()
    desk.outbox.stop(1.0)
    assert isinstance(decode_update(desk.published[0][1]), Finished)


@pytest.mark.parametrize(
    ("delivery", "answer"), [(1, []), (5, ["stage-in: away; given up after 5 attempts"])]
)
def test_a_raw_job_is_answered_when_it_is_given_up(
    desk: Desk, delivery: int, answer: list[str]
) -> None:
    reply = Reply(job="job-1", exceptions=["stage-in: away"])
    ended = RawEnded(reply=reply, phase="stage-in", reason="away", retry="infrastructure")
    desk.reporter.report(desk.hold(1, RawJob(executable="true"), delivery=delivery), ended)
    desk.finish()
    replies = [decode_reply(data).exceptions for data in desk.sent("box")]
    assert replies == ([answer] if answer else [])
    assert desk.given_back() == ([] if answer else ["ack-1"])


def test_out_of_memory_publishes_the_job_again_with_its_next_size(desk: Desk) -> None:
    job = launch(1, memory_step=1, spec={"number": float("inf"), "text": "\u00e9"})
    desk.reporter.report(desk.hold(1, job, delivery=5), out_of_memory())
    assert desk.finish() == ["portfire-updates", "portfire-jobs"]
    released = decode_update(desk.published[0][1])
    assert isinstance(released, Released)
    assert released.reason == "out of memory with 4 bytes; runs again with 8 bytes"
    again = decode_job(desk.published[1][1])
    assert again == job.model_copy(update={"memory_step": 2})
    assert desk.given_back() == []


def test_a_job_that_no_slot_took_up_is_passed_on_with_its_deliveries(desk: Desk) -> None:
    fresh, known = desk.hold(1), desk.hold(2, launch(2, delivered_before=2), delivery=2)
    desk.reporter.pass_on(fresh)
    desk.reporter.pass_on(known)
    assert desk.finish() == ["portfire-jobs", "portfire-jobs"]
    first, second = desk.sent("portfire-jobs")
    assert first == fresh.message.data
    assert decode_job(second) == launch(2, delivered_before=3)
    assert desk.given_back() == []


def test_deliveries_of_earlier_messages_count(desk: Desk) -> None:
    desk.reporter.report(desk.hold(1, launch(1, delivered_before=4)), ChildDied(how="was killed"))
    assert desk.finish() == ["portfire-updates"]
    assert isinstance(decode_update(desk.published[0][1]), Finished)


def test_the_copy_with_more_memory_is_not_taken_for_a_second_delivery(desk: Desk) -> None:
    held = desk.hold(1)
    again = launch(1, memory_step=1)
    assert desk.jobs.find(key_of(held.job, held.message)) is held
    assert desk.jobs.find(key_of(again, held.message)) is None


def test_a_job_too_large_to_be_published_again_ends(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = desk.hold(1, launch(1, spec={"text": "x" * 3000}))
    monkeypatch.setattr("executor.report.MAX_MESSAGE_BYTES", 3000)
    desk.reporter.report(held, out_of_memory())
    assert desk.finish() == ["portfire-updates"]
    assert isinstance(decode_update(desk.published[0][1]), Finished)


@pytest.mark.parametrize("ended", [outage(), out_of_memory()])
@pytest.mark.parametrize(
    ("why", "topics"),
    [
        (STOPPING, ["portfire-updates", "portfire-jobs"]),
        (Interrupted(cause="cancelled", reason="defused"), []),
        (Interrupted(cause="lease lost", reason="lease lost"), []),
    ],
)
def test_a_job_that_was_stopped_meanwhile_is_reported_as_stopped(
    desk: Desk, ended: LaunchEnded, why: Interrupted, topics: list[str]
) -> None:
    held = desk.hold(1)
    held.interrupt(why)
    desk.reporter.report(held, ended)
    assert desk.finish() == topics
    assert desk.sent("portfire-jobs") == ([held.message.data] if topics else [])
    assert desk.given_back() == []
