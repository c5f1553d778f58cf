"""What is no job, no update, or no Firework that can run: told, and then the next one runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fireworks import LaunchPad

from messaging.pubsub import Outgoing, PubSub
from messaging.wire import Finished
from tests.faults import tasks
from tests.faults.ledger import check_consistent, launches_of, states, wait_for_state
from tests.faults.site import Site
from tests.waiting import wait_until

NO_JOBS = {
    b"\xff not JSON": "not JSON",
    b'{"version": "2.0", "executable": "true"}': "version '2.0'",
    b"[1, 2]": "expected an object",
    b'{"args": ["x"]}': "executable is missing",
}
NO_UPDATES = [
    b"\x00",
    b"[]",
    b"{}",
    b'{"version": "7"}',
    b'{"update": "surprise"}',
    b'{"update": "finished", "launch_id": "x"}',
    b'{"update": "ping", "job": "fw1-l1", "attempt": 1, "launch_id": 99, "executor": "e"}',
]


def test_garbage_on_the_jobs_topic_is_rejected_and_the_next_job_runs(
    site: Site, launchpad: LaunchPad, log: Path
) -> None:
    dispatcher = site.start_dispatcher()
    executor = site.start_executor()
    site.watch()
    with PubSub("portfire-local", site.address) as pubsub:
        wait_until(
            lambda: pubsub.subscription_exists(site.names.pool_jobs("default")), what="the pool"
        )
        pubsub.publish(site.names.jobs, [Outgoing(data) for data in NO_JOBS])
    launchpad.add_wf(tasks.firework(log, "next"))
    wait_for_state(launchpad, "next", "COMPLETED")
    wait_until(lambda: len(site.seen("job.rejected")) == len(NO_JOBS), what="all rejections")
    reasons = " ".join(str(getattr(event, "reason", "")) for event in site.seen("job.rejected"))
    assert [text for text in NO_JOBS.values() if text not in reasons] == []
    assert dispatcher.is_alive
    assert executor.is_alive


def test_garbage_on_the_updates_topic_is_dropped_and_the_dispatcher_goes_on(
    site: Site, launchpad: LaunchPad, log: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    launchpad.add_wf(tasks.firework(log, "job", gate=gate))
    dispatcher = site.start_dispatcher()
    site.start_executor()
    wait_for_state(launchpad, "job", "RUNNING")
    with PubSub("portfire-local", site.address) as pubsub:
        pubsub.publish(site.names.updates, [Outgoing(data) for data in NO_UPDATES])
        pubsub.publish(site.names.updates, [Outgoing(_stranger(launchpad).encode())])
    wait_until(lambda: dispatcher.said.count("dropped message") >= 6, what="the drops")
    gate.touch()
    wait_for_state(launchpad, "job", "COMPLETED")
    [launch] = launches_of(launchpad, "job")
    assert launch["host"] != "stranger"
    assert dispatcher.is_alive
    check_consistent(launchpad)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"spec._tasks.0._fw_name": "{{no.such.module.Task}}"}, "no.such.module"),
        ({"spec._tasks.0.func": "no_such_module.function"}, "no_such_module"),
        ({"spec.big": "x" * 11_000_000}, "over Pub/Sub's limit"),
    ],
    ids=["task class", "function", "over 10 MB"],
)
def test_a_firework_that_cannot_run_is_fizzled_with_its_reason(
    site: Site, launchpad: LaunchPad, log: Path, change: dict[str, Any], expected: str
) -> None:
    launchpad.add_wf(tasks.firework(log, "bad"))
    # Past FireWorks, which would refuse some of it only on its own machine.
    launchpad.fireworks.update_one({"name": "bad"}, {"$set": change})
    dispatcher = site.start_dispatcher()
    executor = site.start_executor()
    wait_for_state(launchpad, "bad", "FIZZLED")
    stored = launches_of(launchpad, "bad")[0]["action"]["stored_data"]
    assert expected in stored["_message"] + str(stored["_exception"])
    launchpad.add_wf(tasks.firework(log, "next"))
    wait_for_state(launchpad, "next", "COMPLETED")
    assert dispatcher.is_alive
    assert executor.is_alive
    check_consistent(launchpad)


def test_specs_that_nobody_foresaw_do_not_stop_the_dispatcher(
    site: Site, launchpad: LaunchPad, log: Path
) -> None:
    odd = {"bytes": b"\xff\xfe", "_trackers": ["no tracker"], "_priority": "high"}
    for name, value in odd.items():
        launchpad.add_wf(tasks.firework(log, name))
        launchpad.fireworks.update_one({"name": name}, {"$set": {f"spec.{name}": value}})
    launchpad.add_wf(tasks.firework(log, "next"))
    dispatcher = site.start_dispatcher()
    site.start_executor()
    wait_until(
        lambda: set(states(launchpad).values()) <= {"COMPLETED", "FIZZLED"}, what="all to end"
    )
    assert states(launchpad)["next"] == "COMPLETED"
    assert dispatcher.is_alive
    check_consistent(launchpad)


def _stranger(launchpad: LaunchPad) -> Finished:
    """The end of a launch with our launch's id, from before the LaunchPad was reset."""
    launch_id = launchpad.launches.find_one({})["launch_id"]
    return Finished(
        job=f"fw1-l{launch_id}-000000",
        attempt=9,
        launch_id=launch_id,
        executor="stranger",
        state="COMPLETED",
        action={},
        started=0.0,
        host="stranger",
        ip="",
        launch_dir="",
    )
