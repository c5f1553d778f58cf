"""The whole dispatcher on real MongoDB and the embedded broker; the tests are its executors."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fireworks import FWAction, FWorker, LaunchPad, Workflow
from pymongo.errors import AutoReconnect

from dispatcher.topology_watch import TopologyCare
from messaging.pubsub import Outgoing
from messaging.wire import Finished, LaunchJob, LaunchUpdate, PoolMade, Started
from tests.dispatcher.workbench import NOTHING, Running, firework
from tests.waiting import wait_until

Start = Callable[..., Running]


def _say(running: Running, *updates: LaunchUpdate) -> None:
    running.pubsub.publish(running.names.updates, [Outgoing(each.encode()) for each in updates])


def _started(job: LaunchJob) -> Started:
    return Started(
        job=job.job,
        attempt=job.attempt,
        launch_id=job.launch_id,
        executor="executor-1",
        host="worker",
        ip="10.0.0.1",
        launch_dir="/jobs/here",
    )


def _finished(job: LaunchJob) -> Finished:
    fields = _started(job).model_dump(exclude={"update"})
    return Finished(**fields, state="COMPLETED", action=FWAction().to_dict(), started=1.0)


def _state(launchpad: LaunchPad, name: str) -> str:
    return str(launchpad.fireworks.find_one({"name": name})["state"])


def _wait_for(launchpad: LaunchPad, name: str, state: str) -> None:
    wait_until(lambda: _state(launchpad, name) == state, what=f"{name} to be {state}")


def test_the_highest_priority_goes_first_and_no_more_than_the_limit(
    launchpad: LaunchPad, start_dispatcher: Start
) -> None:
    for priority in (1, 5, 3, 4, 2):
        launchpad.add_wf(firework(f"p{priority}", _priority=priority))
    running = start_dispatcher(max_in_flight=2)
    jobs = running.pull()
    assert [job.name for job in jobs] == ["p5", "p4"]
    assert running.pull(timeout=0.5) == []
    _say(running, _finished(jobs[0]))
    assert [job.name for job in running.pull()] == ["p3"]


def test_only_the_fworkers_fireworks_are_claimed(
    launchpad: LaunchPad, start_dispatcher: Start
) -> None:
    launchpad.add_wf(firework("mine", _category="gpu"))
    launchpad.add_wf(firework("not mine", _category="cpu"))
    launchpad.add_wf(firework("for anybody"))
    running = start_dispatcher(FWorker(name="w", category="gpu"), drain=True)
    [job] = running.pull()
    assert job.name == "mine"
    _say(running, _finished(job))
    running.join()
    assert _state(launchpad, "not mine") == "READY"


def test_reservations_of_others_are_left_alone(
    launchpad: LaunchPad, start_dispatcher: Start
) -> None:
    launchpad.add_wf(firework("queued"))
    theirs, launch_id = launchpad.reserve_fw(FWorker(), "/queue/dir")
    launchpad.set_reservation_id(launch_id, "slurm-1")
    before = launchpad.launches.find_one({"launch_id": launch_id})
    running = start_dispatcher()
    launchpad.add_wf(firework("ours"))
    assert [job.name for job in running.pull()] == ["ours"]
    assert theirs is not None
    assert running.pull(timeout=1.5) == []
    assert launchpad.launches.find_one({"launch_id": launch_id}) == before
    assert _state(launchpad, "queued") == "RESERVED"


def test_a_job_says_what_an_executor_needs_and_nothing_of_the_database(
    launchpad: LaunchPad, start_dispatcher: Start
) -> None:
    launchpad.add_wf(firework("it", answer=42))
    fworker = FWorker(name="worker", env={"colour": "green"})
    [job] = start_dispatcher(fworker, max_attempts=7).pull()
    assert (job.name, job.attempt, job.max_attempts, job.fw_id) == ("it", 1, 7, 1)
    assert job.firework["spec"]["answer"] == 42
    assert job.firework["spec"]["_tasks"][0]["func"] == NOTHING["func"]
    assert job.fworker["env"] == {"colour": "green"}
    assert launchpad.name not in job.encode().decode()


def test_a_workflow_locked_by_lpad_waits_and_then_goes_on(
    launchpad: LaunchPad, start_dispatcher: Start
) -> None:
    launchpad.add_wf(firework("it"))
    running = start_dispatcher()
    [job] = running.pull()
    launchpad.workflows.update_one({}, {"$set": {"locked": True}})
    _say(running, _finished(job))
    launchpad.add_wf(firework("other"))
    assert [other.name for other in running.pull()] == ["other"]
    assert _state(launchpad, "it") == "RESERVED"
    launchpad.workflows.update_one({"nodes": job.fw_id}, {"$unset": {"locked": True}})
    _wait_for(launchpad, "it", "COMPLETED")
    wait_until(lambda: running.dispatcher.counts.completed == 1, what="the count")


def test_a_successor_takes_over_what_is_in_flight(
    launchpad: LaunchPad, start_dispatcher: Start
) -> None:
    parent, child = firework("parent"), firework("child")
    launchpad.add_wf(Workflow([parent, child], {parent: [child]}))
    first = start_dispatcher()
    [job] = first.pull()
    first.stop()
    second = start_dispatcher(drain=True)
    wait_until(lambda: second.dispatcher.in_flight == 1, what="the adoption")
    _say(second, _started(job), _finished(job))
    [job] = second.pull()
    assert job.name == "child"
    _say(second, _finished(job))
    second.join()
    assert second.dispatcher.counts.completed == 2


def test_updates_that_a_stopped_dispatcher_had_taken_come_to_the_next_at_once(
    launchpad: LaunchPad, start_dispatcher: Start
) -> None:
    launchpad.add_wf(Workflow([firework(f"{number}") for number in range(40)]))
    first = start_dispatcher()
    jobs = first.pull()
    while len(jobs) < 40:
        jobs += first.pull()
    _say(first, *[_finished(job) for job in jobs])
    first.dispatcher.stop()
    second = start_dispatcher(drain=True)
    second.join()
    assert launchpad.fireworks.count_documents({"state": "COMPLETED"}) == 40


def _cancel(running: Running) -> str:
    """The next cancel on the control topic."""
    while True:
        [message] = running.pubsub.pull("control", 1, 10.0)
        if message.attributes["type"] == "cancel":
            return message.data.decode()


@pytest.mark.parametrize("command", ["defuse_fw", "delete_wf", "rerun_fw"])
def test_a_job_that_nobody_wants_is_cancelled(
    launchpad: LaunchPad, start_dispatcher: Start, command: str
) -> None:
    launchpad.add_wf(firework("it"))
    running = start_dispatcher()
    [job] = running.pull()
    running.pubsub.create_subscription("control", running.names.control)
    _say(running, _started(job))
    _wait_for(launchpad, "it", "RUNNING")
    getattr(launchpad, command)(job.fw_id)
    assert job.job in _cancel(running)
    wait_until(lambda: running.dispatcher.counts.cancelled == 1, what="the count")


def test_what_vanishes_where_nothing_may_be_created_is_told_of_once(
    launchpad: LaunchPad, start_dispatcher: Start, caplog: pytest.LogCaptureFixture
) -> None:
    first = start_dispatcher()
    launchpad.add_wf(firework("before"))
    assert len(first.pull()) == 1
    first.stop()
    running = start_dispatcher(create=False, topology_seconds=0.05)
    wait_until(lambda: running.dispatcher.in_flight == 1, what="the takeover")
    running.pubsub.delete_subscription(running.names.pool_dead_jobs("default"))
    wait_until(lambda: "--no-create" in caplog.text, what="the warning")
    launchpad.add_wf(firework("it"))
    assert [job.name for job in running.pull()] == ["it"]
    running.stop()
    assert running.failure is None
    assert caplog.text.count("--no-create") == 1


def test_a_topic_deleted_under_its_subscription_is_made_again(
    launchpad: LaunchPad, start_dispatcher: Start
) -> None:
    running = start_dispatcher(topology_seconds=0.05)
    wait_until(lambda: running.pubsub.topic_exists(running.names.updates), what="the topics")
    running.pubsub.delete_topic(running.names.updates)
    wait_until(lambda: running.pubsub.topic_exists(running.names.updates), what="the topic")
    launchpad.add_wf(firework("it"))
    [job] = running.pull()
    _say(running, _finished(job))
    _wait_for(launchpad, "it", "COMPLETED")


@pytest.mark.parametrize("late", [False, True])
def test_a_loss_is_made_good_once(
    launchpad: LaunchPad, start_dispatcher: Start, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    launchpad.add_wf(firework("it"))
    # It made the topics itself, and knows of the loss: an executor's word is about the same.
    running = start_dispatcher()
    assert len(running.pull()) == 1
    if late:
        monkeypatch.setattr("dispatcher.topology_watch._ECHO_SECONDS", 0.0)
    made = PoolMade(pool="default", executor="executor-1")
    attributes = {"type": made.update, "pool": made.pool}
    running.pubsub.publish(running.names.updates, [Outgoing(made.encode(), attributes)])
    launchpad.add_wf(firework("after"))
    jobs = running.pull(timeout=5.0)
    jobs += running.pull(timeout=2.0)
    again = {(each.name, each.attempt) for each in jobs} - {("after", 1), ("after", 2)}
    assert again == ({("it", 2)} if late else set())


def test_drained_waits_for_the_children_of_what_others_run(
    launchpad: LaunchPad, start_dispatcher: Start
) -> None:
    parent, child = firework("parent"), firework("child")
    launchpad.add_wf(Workflow([parent, child], {parent: [child]}))
    _, launch_id = launchpad.checkout_fw(FWorker(), "/elsewhere")
    running = start_dispatcher(drain=True)
    assert running.pull(timeout=1.5) == []
    assert running.is_alive
    launchpad.complete_launch(launch_id, FWAction())
    [job] = running.pull()
    assert job.name == "child"
    _say(running, _finished(job))
    running.join()


def test_drained_ends_only_when_nothing_is_left(
    launchpad: LaunchPad, start_dispatcher: Start
) -> None:
    parent, child = firework("parent"), firework("child")
    launchpad.add_wf(Workflow([parent, child], {parent: [child]}))
    running = start_dispatcher(drain=True)
    for name in ("parent", "child"):
        [job] = running.pull()
        assert job.name == name
        assert running.is_alive
        _say(running, _finished(job))
    running.join()
    assert running.failure is None


def test_without_the_right_to_create_what_is_missing_is_named(
    launchpad: LaunchPad,  # noqa: ARG001 - the dispatcher's
    start_dispatcher: Start,
) -> None:
    running = start_dispatcher(create=False)
    running.join()
    assert "tests-jobs" in str(running.failure)
    assert "--no-create" in str(running.failure)


def test_a_lost_topic_is_made_again_though_mongodb_is_away_at_that_moment(
    launchpad: LaunchPad, start_dispatcher: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    restore = TopologyCare.restore
    cut_off: list[bool] = []

    def restore_at_last(care: TopologyCare) -> None:
        if not cut_off:
            cut_off.append(True)
            raise AutoReconnect("MongoDB is away")
        restore(care)

    monkeypatch.setattr(TopologyCare, "restore", restore_at_last)
    launchpad.add_wf(firework("waiting"))
    running = start_dispatcher()
    assert [job.attempt for job in running.pull()] == [1]
    running.pubsub.delete_topic(running.names.jobs)
    wait_until(lambda: cut_off, what="the loss to be noticed")
    wait_until(lambda: running.pubsub.topic_exists(running.names.jobs), what="the topic")
    assert [job.attempt for job in running.pull()] == [2]
