"""Reports: what goes out in which order."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, cast

import pytest

from executor.backoff import Backoff
from executor.held_job import HeldJob, HeldJobs, key_of
from executor.outbox import Outbox
from executor.outcome import ChildDied, Interrupted, LaunchEnded, Outcome, RawEnded, fizzled
from executor.report import Policy, Reporter
from executor.updates import UpdateWriter
from messaging.errors import NotFoundError
from messaging.leases import LeaseKeeper
from messaging.names import Names
from messaging.pubsub import Outgoing, Received
from messaging.retries import Failure, Retries
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
        #: What is to wait does so until `finish`.
        self.backoff = Backoff(on_death=pytest.fail)
        self.reporter = Reporter(
            updates=UpdateWriter("executor-1", "default"),
            names=Names(),
            events=cast(Any, _NoEvents()),
            outbox=self.outbox,
            keeper=self.keeper,
            jobs=self.jobs,
            backoff=self.backoff,
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
        """Publish at once until no job is held; the topics, in order."""
        self.backoff.hurry()
        self.backoff.start()
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
    assert desk.finish() == ["portfire-jobs"]


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


def failed_before(*causes: str) -> list[Failure]:
    return [
        Failure(executor="executor-0", cause=cause, reason=f"{cause} {number}", time=float(number))
        for number, cause in enumerate(causes, 1)
    ]


def ended(desk: Desk) -> Finished:
    """The end that was told, and nothing else."""
    assert desk.finish() == ["portfire-updates"]
    finished = decode_update(desk.published[0][1])
    assert isinstance(finished, Finished)
    assert finished.state == "FIZZLED"
    return finished


def released(desk: Desk) -> tuple[str, LaunchJob | RawJob]:
    """Why the job was given back, and the job as it was then published again."""
    assert desk.finish() == ["portfire-updates", "portfire-jobs"]
    update = decode_update(desk.published[0][1])
    assert isinstance(update, Released)
    assert desk.given_back() == []
    return update.reason, decode_job(desk.published[1][1])


@pytest.mark.parametrize(("delivery", "silences"), [(0, 0), (1, 0), (3, 2)])
def test_after_an_outage_the_job_is_published_again_and_its_deliveries_do_not_count(
    desk: Desk, delivery: int, silences: int
) -> None:
    job = launch(1, history=failed_before("infrastructure"))
    desk.reporter.report(desk.hold(1, job, delivery=delivery), outage())
    reason, again = released(desk)
    assert re.fullmatch(
        r"the store is away; it will run again in [12]\.\d s \(infrastructure, retry 2 of 45\)",
        reason,
    )
    assert again.history[:-1] == job.history
    assert again.history[-1].executor == "executor-1"
    assert again.history[-1].cause == "infrastructure"
    assert again.history[-1].reason == "the store is away"
    expected = {"history": again.history, "delivered_before": silences}
    assert again == job.model_copy(update=expected)


def test_a_job_that_is_to_run_again_waits_and_is_held_without_being_worked_at(desk: Desk) -> None:
    held = desk.hold(1)
    desk.reporter.report(held, outage())
    desk.outbox.start()
    wait_until(lambda: desk.published, what="the update")
    assert desk.keeper.is_held(held.lease)
    assert (len(desk.jobs.all()), desk.jobs.working()) == (1, 0)
    assert desk.sent("portfire-jobs") == []
    desk.backoff.hurry()
    desk.backoff.start()
    wait_until(lambda: not desk.jobs.all(), what="the job's end")
    assert len(desk.sent("portfire-jobs")) == 1


@pytest.mark.parametrize(
    "why",
    [
        Interrupted(cause="cancelled", reason="defused"),
        Interrupted(cause="lease lost", reason="lease lost"),
    ],
)
def test_a_job_that_is_not_ours_or_not_wanted_any_more_is_not_published_again(
    desk: Desk, why: Interrupted
) -> None:
    held = desk.hold(1)
    desk.reporter.report(held, outage())
    held.interrupt(why)
    assert desk.finish() == ["portfire-updates"]


def test_the_last_outage_fizzles_and_tells_the_whole_history(desk: Desk) -> None:
    before = failed_before("infrastructure", "crash", "infrastructure")
    retries = Retries(infrastructure=2)
    job = launch(1, history=before, retries=retries)
    desk.reporter.report(desk.hold(1, job, delivery=2), outage())
    stored = ended(desk).action["stored_data"]
    assert stored["_message"] == (
        "the store is away; given up after 5 attempts: 3 x infrastructure (the store is away), "
        "1 x crash (crash 2), 1 x no word from its executor"
    )
    told = [Failure(**failure) for failure in stored["_exception"]["_details"]["history"]]
    assert told[:-1] == before
    assert told[-1].executor == "executor-1"
    assert desk.given_back() == []


def test_a_failure_without_any_before_it_is_told_as_ever(desk: Desk) -> None:
    reason = "ValueError: x"
    plain = fizzled(reason)
    desk.reporter.report(desk.hold(1), plain)
    assert ended(desk).action == plain.action


def test_an_error_runs_again_as_often_as_the_job_says(desk: Desk) -> None:
    job = launch(1, history=failed_before("crash", "error"), retries=Retries(error=2))
    desk.reporter.report(desk.hold(1, job), fizzled("ValueError: x"))
    reason, again = released(desk)
    assert "(error, retry 2 of 2)" in reason
    assert [failure.cause for failure in again.history] == ["crash", "error", "error"]


@pytest.mark.parametrize(
    ("details", "history_at", "message"),
    [
        ({"reason": "away", "retry": True}, ["history"], "runtime error"),
        (None, ["history"], "runtime error; given up after 2 attempts"),
        ({"history": "Rome"}, [], "runtime error; given up after 2 attempts"),
        ("odd", [], "runtime error; given up after 2 attempts"),
    ],
)
def test_what_a_task_tells_of_its_failure_is_kept(
    desk: Desk, details: Any, history_at: list[str], message: str
) -> None:
    stored = {"_message": "runtime error", "_exception": {"_stacktrace": "x", "_details": details}}
    last = LaunchEnded(state="FIZZLED", action={"stored_data": stored}, reason="away")
    job = launch(1, history=failed_before("infrastructure"))
    desk.reporter.report(desk.hold(1, job), last)
    told = ended(desk).action["stored_data"]
    assert told["_message"].startswith(message)
    assert told["_exception"]["_stacktrace"] == "x"
    found = told["_exception"]["_details"]
    if history_at:
        assert [each["cause"] for each in found["history"]] == ["infrastructure", "error"]
    else:
        assert found == details
    if isinstance(details, dict) and "reason" in details:
        assert found["reason"].startswith("away; given up after 2 attempts: ")
        assert told["_message"] == "runtime error"


@pytest.mark.parametrize(
    ("crashes", "silences", "ends"), [(3, 0, False), (4, 0, True), (2, 2, True), (0, 4, True)]
)
def test_crashes_count_together_with_the_deaths_of_executors(
    desk: Desk, crashes: int, silences: int, ends: bool
) -> None:
    history = failed_before(*["infrastructure"] * 9, *["crash"] * crashes)
    job = launch(1, history=history, delivered_before=silences)
    desk.reporter.report(desk.hold(1, job), ChildDied(how="was killed by SIGKILL"))
    if ends:
        assert "killed by SIGKILL (out of memory?)" in str(ended(desk).action)
    else:
        assert f"(crash, retry {crashes + 1} of 4)" in released(desk)[0]


def test_an_outage_fizzles_at_once_where_the_settings_say_so() -> None:
    desk = Desk(on_outage="fizzle")
    desk.reporter.report(desk.hold(1), outage())
    desk.finish()
    desk.outbox.stop(1.0)
    assert isinstance(decode_update(desk.published[0][1]), Finished)


@pytest.mark.parametrize("tries", [1, 0])
def test_a_raw_job_is_answered_when_it_is_given_up(desk: Desk, tries: int) -> None:
    reply = Reply(job="job-1", exceptions=["stage-in: away"])
    last = RawEnded(reply=reply, phase="stage-in", reason="away", retry="infrastructure")
    history = failed_before("crash")
    job = RawJob(executable="true", history=history, retries=Retries(infrastructure=tries))
    desk.reporter.report(desk.hold(1, job), last)
    desk.finish()
    replies = [decode_reply(data).exceptions for data in desk.sent("box")]
    assert len(desk.sent("portfire-jobs")) == tries
    assert desk.given_back() == []
    if not tries:
        text = "given up after 2 attempts: 1 x crash (crash 1), 1 x infrastructure (away)"
        assert replies == [[f"stage-in: away; {text}"]]


def test_out_of_memory_publishes_the_job_again_with_its_next_size(desk: Desk) -> None:
    job = launch(1, memory_step=1, spec={"number": float("inf"), "text": "\u00e9"})
    desk.reporter.report(desk.hold(1, job, delivery=5), out_of_memory())
    reason, again = released(desk)
    assert reason == "out of memory with 4 bytes; runs again with 8 bytes"
    assert [failure.cause for failure in again.history] == ["memory"]
    expected = {"memory_step": 2, "history": again.history, "delivered_before": 4}
    assert again == job.model_copy(update=expected)


def test_a_job_that_no_slot_took_up_is_passed_on_with_its_deliveries(desk: Desk) -> None:
    fresh, known = desk.hold(1), desk.hold(2, launch(2, delivered_before=2), delivery=2)
    desk.reporter.pass_on(fresh)
    desk.reporter.pass_on(known)
    assert desk.finish() == ["portfire-jobs", "portfire-jobs"]
    first, second = desk.sent("portfire-jobs")
    assert first == fresh.message.data
    assert decode_job(second) == launch(2, delivered_before=3)
    assert desk.given_back() == []


def test_the_next_try_is_not_taken_for_a_second_delivery(desk: Desk) -> None:
    held = desk.hold(1)
    again = launch(1, history=failed_before("memory"))
    assert desk.jobs.find(key_of(held.job, held.message)) is held
    assert desk.jobs.find(key_of(again, held.message)) is None


def test_a_job_too_large_to_be_published_again_ends(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = desk.hold(1, launch(1, spec={"text": "x" * 3000}))
    monkeypatch.setattr("executor.retrying.MAX_MESSAGE_BYTES", 3000)
    desk.reporter.report(held, out_of_memory())
    ended(desk)


@pytest.mark.parametrize("failure", [outage(), out_of_memory()])
@pytest.mark.parametrize(
    ("why", "topics"),
    [
        (STOPPING, ["portfire-updates", "portfire-jobs"]),
        (Interrupted(cause="cancelled", reason="defused"), []),
        (Interrupted(cause="lease lost", reason="lease lost"), []),
    ],
)
def test_a_job_that_was_stopped_meanwhile_is_reported_as_stopped(
    desk: Desk, failure: LaunchEnded, why: Interrupted, topics: list[str]
) -> None:
    held = desk.hold(1)
    held.interrupt(why)
    desk.reporter.report(held, failure)
    assert desk.finish() == topics
    assert desk.sent("portfire-jobs") == ([held.message.data] if topics else [])
    assert desk.given_back() == []
