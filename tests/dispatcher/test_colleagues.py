"""Several dispatchers on one LaunchPad: each step is safe from what the others do meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fireworks import FWAction, LaunchPad, Workflow

from dispatcher.held_launches import needs_publishing
from dispatcher.launch_documents import attempt_of, is_published, note_of
from dispatcher.refresh import Refresher
from dispatcher.stored_workflow import WorkflowStore
from dispatcher.updates import Updates, Verdict
from dispatcher.workflow_batch import WorkflowBatch
from messaging.pubsub import Outgoing
from messaging.wire import ExecutorNews, Finished, LaunchJob
from tests.dispatcher.workbench import OWNER, Running, Workbench, finished, firework, started
from tests.waiting import wait_until

Start = Callable[..., Running]


@contextmanager
def _meanwhile(
    monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, act: Callable[[], object]
) -> Iterator[None]:
    """Just before the first call of a method, a colleague does something."""
    original = getattr(owner, name)
    acted: list[bool] = []

    def call(*args: Any, **kwargs: Any) -> Any:
        if not acted:
            acted.append(True)
            act()
        return original(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, call)
        yield
    assert acted


def test_what_a_job_said_at_once_is_not_undone_by_noting_its_publication(
    bench: Workbench, launchpad: LaunchPad
) -> None:
    launchpad.add_wf(firework("it"))
    [claim] = bench.claims.claim(10)
    colleague = Workbench(launchpad)
    assert colleague.updates.start(started(claim)) is Verdict.APPLIED
    bench.publish(claim)
    launch = bench.launch(claim)
    assert [entry["state"] for entry in launch["state_history"]] == ["RESERVED", "RUNNING"]
    assert is_published(launch)
    assert bench.state("it") == "RUNNING"


def test_a_start_does_not_undo_the_note_of_a_newer_attempt(
    bench: Workbench, launchpad: LaunchPad, monkeypatch: pytest.MonkeyPatch
) -> None:
    launchpad.add_wf(firework("it"))
    [claim] = bench.claim()
    colleague = Workbench(launchpad)
    with _meanwhile(monkeypatch, Updates, "_wanted", lambda: colleague.publish(claim, attempt=2)):
        bench.updates.start(started(claim))
    assert attempt_of(bench.launch(claim)) == 2
    assert bench.updates.start(started(claim)) is Verdict.UNWANTED
    assert bench.updates.start(started(claim, attempt=2)) is Verdict.APPLIED


def test_whoever_has_lost_the_lock_records_no_state(
    bench: Workbench, launchpad: LaunchPad, monkeypatch: pytest.MonkeyPatch
) -> None:
    launchpad.add_wf(firework("it"))
    [claim] = bench.claim()
    successor = Workbench(launchpad)
    before = launchpad.workflows.find_one({})["fw_states"]
    launchpad.fireworks.update_one({}, {"$set": {"state": "RUNNING"}})

    def take_over() -> None:
        launchpad.workflows.update_one({}, {"$set": {"locked_by": f"{OWNER}/other"}})

    with _meanwhile(monkeypatch, WorkflowBatch, "commit", take_over):
        assert bench.store.record([claim.fw_id]) == {claim.fw_id}
    assert launchpad.workflows.find_one({})["fw_states"] == before
    assert successor.store.recover() == 1
    assert bench.state("it") == "RUNNING"


def test_an_older_attempt_is_not_noted_over_a_newer_one(
    bench: Workbench, launchpad: LaunchPad
) -> None:
    launchpad.add_wf(firework("it"))
    [claim] = bench.claims.claim(10)
    successor = Workbench(launchpad)
    [left] = successor.held.load(successor.held.ids())
    assert needs_publishing(left)
    ours = successor.held.take_over(left, attempt=2)
    assert ours is not None
    successor.publish(ours, attempt=2)
    bench.publish(claim, attempt=1)  # the one that was stopped wakes
    assert attempt_of(successor.launch(claim)) == 2
    assert successor.held.take_over(left, attempt=3) is None  # it is not as it was read


def test_ends_that_come_to_two_dispatchers_at_once_are_applied_once(
    bench: Workbench, launchpad: LaunchPad, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent, child = firework("it"), firework("child")
    launchpad.add_wf(Workflow([parent, child], {parent: [child]}))
    [claim] = bench.claim()
    colleague = Workbench(launchpad)
    end = finished(claim, action=FWAction(mod_spec=[{"_push": {"list": 1}}, {"_inc": {"n": 1}}]))
    ends: list[object] = []
    with _meanwhile(
        monkeypatch, Refresher, "refresh", lambda: ends.append(colleague.updates.finish(end))
    ):
        ends.append(bench.updates.finish(end))
    assert sorted(map(str, ends)) == ["COMPLETED", "None"]  # counted once
    spec = bench.firework("child")["spec"]
    assert (spec["list"], spec["n"]) == ([1], 1)
    assert (bench.state("it"), bench.state("child")) == ("COMPLETED", "READY")


def test_one_that_wakes_after_its_workflow_was_taken_leaves_no_wrong_copy(
    bench: Workbench, launchpad: LaunchPad, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two, join = firework("one"), firework("two"), firework("join")
    launchpad.add_wf(Workflow([one, two, join], {one: [join], two: [join]}))
    claims = {claim.firework["name"]: claim for claim in bench.claim() if claim.firework}
    successor = Workbench(launchpad)
    with _meanwhile(monkeypatch, Refresher, "_end_plainly", lambda: successor.store.recover()):
        bench.updates.finish_all([finished(claims["one"])])
    # The update was given back, and comes to the successor.
    successor.updates.finish(finished(claims["one"]))
    assert successor.state("one") == "COMPLETED"
    successor.updates.finish(finished(claims["two"]))
    assert successor.state("join") == "READY"


def test_the_living_keep_their_locks_and_journals(bench: Workbench, launchpad: LaunchPad) -> None:
    launchpad.add_wf(firework("it"))
    other = Workbench(launchpad)
    [claim] = other.claim()
    other.store.lock(claim.fw_id)
    journal = launchpad.db["portfire_journal"]
    journal.insert_one({"entry": 1, "owner": "portfire/tests/default", "by": _mark(other)})
    instance = _mark(other).rpartition("/")[2]
    assert bench.store.recover([instance]) == 0
    assert bench.store.recover(None) == 0
    assert journal.count_documents({}) == launchpad.workflows.count_documents({"locked": True}) == 1
    assert bench.store.recover([]) == 1
    assert journal.count_documents({}) == launchpad.workflows.count_documents({"locked": True}) == 0


def test_what_a_colleague_has_locked_is_not_waited_for_when_claiming(
    bench: Workbench, launchpad: LaunchPad, caplog: pytest.LogCaptureFixture
) -> None:
    launchpad.add_wf(firework("theirs"))
    launchpad.add_wf(firework("ours"))
    colleague = Workbench(launchpad)
    locked = colleague.store.lock(1)
    assert [claim.fw_id for claim in bench.claims.claim(10)] == [2]
    locked.abandon()
    assert [claim.fw_id for claim in bench.claims.claim(10)] == [1]
    assert "is locked" not in caplog.text


def test_a_lock_of_a_killed_lpad_command_is_broken_after_a_time(
    bench: Workbench, launchpad: LaunchPad
) -> None:
    launchpad.add_wf(firework("it"))
    launchpad.workflows.update_one({}, {"$set": {"locked": True}})
    assert bench.claims.claim(10) == []
    assert bench.store.unlock_left(60.0) == 0
    assert bench.store.unlock_left(0.0) == 1
    assert [claim.fw_id for claim in bench.claims.claim(10)] == [1]


def _end(job: LaunchJob) -> Outgoing:
    fields: dict[str, Any] = {"job": job.job, "attempt": job.attempt, "launch_id": job.launch_id}
    fields |= {"executor": "e", "host": "h", "ip": "10.0.0.1", "launch_dir": "/here"}
    action = FWAction().to_dict()
    return Outgoing(Finished(**fields, started=1.0, state="COMPLETED", action=action).encode())


def test_two_dispatchers_share_the_work_and_one_takes_over_all(
    launchpad: LaunchPad, start_dispatcher: Start
) -> None:
    first, second = start_dispatcher(max_in_flight=40), start_dispatcher(max_in_flight=40)
    wait_until(
        lambda: launchpad.db.portfire_dispatchers.count_documents({"pid": {"$gt": 0}}) == 2,
        what="both",
    )
    for number in range(60):
        launchpad.add_wf(firework(str(number)))
    ended: list[str] = []
    while len(ended) < 60:
        jobs = first.pull()
        assert jobs
        ended += [job.name for job in jobs]
        first.pubsub.publish(first.names.updates, [_end(job) for job in jobs])
        if len(ended) > 30 and second.is_alive:
            second.stop()
    completed = {"state": "COMPLETED"}
    wait_until(lambda: launchpad.workflows.count_documents(completed) == 60, what="the end")
    assert sorted(ended) == sorted(map(str, range(60)))
    counts = [each.dispatcher.counts for each in (first, second)]
    assert sum(each.completed for each in counts) == 60
    assert sum(each.claimed for each in counts) == 60
    wait_until(lambda: first.dispatcher.in_flight == 0, what="the table to be empty")


def test_what_a_colleague_left_is_adopted_and_noted_so(
    launchpad: LaunchPad, start_dispatcher: Start
) -> None:
    first = start_dispatcher()
    launchpad.add_wf(firework("it"))
    [job] = first.pull()
    second = start_dispatcher()
    first.stop()
    wait_until(lambda: second.dispatcher.in_flight == 1, what="the adoption")
    launch = launchpad.launches.find_one({"launch_id": job.launch_id})
    members = list(launchpad.db.portfire_dispatchers.find({"pid": {"$gt": 0}}))
    assert [note_of(launch)["dispatcher"]] == [member["instance"] for member in members]
    assert attempt_of(launch) == 1
    assert second.pull(timeout=0.5) == []  # its message is in Pub/Sub, or taken: not sent again


def test_slots_that_executors_announce_make_room(
    launchpad: LaunchPad, start_dispatcher: Start
) -> None:
    running = start_dispatcher()
    wait_until(lambda: running.pubsub.topic_exists(running.names.updates), what="the topics")
    parts = running.dispatcher._parts
    assert parts.limit == 64
    news = ExecutorNews(pool="default", executor="e", host="h", slots=100, heartbeat=30.0)

    def say(said: ExecutorNews) -> None:
        running.pubsub.publish(running.names.updates, [Outgoing(said.encode())])

    wait_until(
        lambda: running.pubsub.subscription_exists(running.names.pool_updates("default")),
        what="the subscription",
    )
    say(news)
    wait_until(lambda: parts.limit == 464, what="room for them")
    executors = launchpad.db.portfire_executors
    wait_until(lambda: executors.count_documents({"slots": 100}) == 1, what="the others to know")
    say(news.model_copy(update={"stopped": True}))
    wait_until(lambda: parts.limit == 64, what="the room to be gone")
    wait_until(lambda: executors.count_documents({}) == 0, what="the others to know")


def _mark(bench: Workbench) -> str:
    store: WorkflowStore = bench.store
    return store._holder.mark
