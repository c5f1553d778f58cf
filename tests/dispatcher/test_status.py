"""What `portfire dispatcher status` and `repair` find, beside a dispatcher and after one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fireworks import LaunchPad, Workflow

from commands.dispatcher_status import lines
from dispatcher.repair import Repair
from dispatcher.status import collect
from messaging.pubsub import Outgoing
from messaging.wire import ExecutorNews
from tests.dispatcher.workbench import Running, Workbench, firework
from tests.waiting import wait_until

Start = Callable[..., Running]


def _repair(launchpad: LaunchPad, *, dry_run: bool = False) -> list[tuple[str, str]]:
    work = Repair(launchpad, after=0.3, force=False, dry_run=dry_run)
    return [(finding.what, finding.done) for finding in work.run()]


def test_it_shows_what_is_in_flight_and_who_is_there(
    launchpad: LaunchPad, start_dispatcher: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dispatcher.beats.BEAT_SECONDS", 0.05)
    running = start_dispatcher()
    launchpad.add_wf(firework("it"))
    launchpad.add_wf(firework("later"))
    assert len(running.pull(1)) == 1
    news = ExecutorNews(pool="default", executor="e1", host="vm", slots=4, busy=3, heartbeat=30.0)
    bad = [Outgoing(news.encode()), Outgoing(b"no update")]
    running.pubsub.publish(running.names.updates, bad)
    executors = launchpad.db.portfire_executors
    wait_until(lambda: executors.count_documents({}) == 1, what="the news")

    def told() -> bool:
        [dispatcher] = collect(launchpad, "tests")["dispatchers"]
        return bool(dispatcher.get("counts", {}).get("unreadable"))

    wait_until(told, what="a report")
    found = collect(launchpad, "tests")
    assert found["fireworks"] == {"RESERVED": 2}
    assert found["pools"]["default"]["reserved"] == 2
    assert found["pools"]["default"]["oldest_claim"] < 60
    [dispatcher] = found["dispatchers"]
    assert (dispatcher["alive"], dispatcher["keeps_house"]) == (True, True)
    assert (dispatcher["in_flight"], dispatcher["counts"]["claimed"]) == (2, 2)
    [executor] = found["executors"]
    assert (executor["alive"], executor["slots"], executor["busy"]) == (True, 4, 3)
    assert "dropped message" in found["last_errors"][-1]["text"]
    text = "\n".join(lines(found))
    assert "keeps house" in text
    assert "3 of 4 slots busy" in text
    assert collect(launchpad, "another")["dispatchers"] == []
    assert collect(launchpad, "tests", "gpu")["executors"] == []
    assert _repair(launchpad) == []
    running.stop()
    assert "no dispatcher" in "\n".join(lines(collect(launchpad, "tests")))


def test_nothing_is_wrong_with_work_in_hand(bench: Workbench, launchpad: LaunchPad) -> None:
    launchpad.add_wf(firework("it"))
    bench.claim()
    assert _repair(launchpad) == []


def test_a_lock_left_by_a_dead_dispatcher_is_undone(bench: Workbench, launchpad: LaunchPad) -> None:
    launchpad.add_wf(firework("it"))
    bench.store.lock(1)
    [(what, done)] = _repair(launchpad, dry_run=True)
    assert ("dead dispatcher" in what, done) == (True, "")
    assert launchpad.workflows.count_documents({"locked": True}) == 1
    [(_, done)] = _repair(launchpad)
    assert "unlocked" in done
    assert launchpad.workflows.count_documents({"locked": True}) == 0


def test_a_lock_of_fireworks_own_is_broken_when_it_stands(launchpad: LaunchPad) -> None:
    one, two = firework("one"), firework("two")
    launchpad.add_wf(Workflow([one, two], {one: [two]}))
    # A killed `lpad` leaves its lock, and perhaps a copy that is out of date.
    launchpad.workflows.update_one({}, {"$set": {"locked": True}})
    launchpad.fireworks.update_one({"name": "one"}, {"$set": {"state": "DEFUSED"}})
    [(what, done)] = _repair(launchpad)
    assert "lpad command" in what
    assert "unlocked" in done
    workflow = launchpad.workflows.find_one({})
    assert "locked" not in workflow
    assert sorted(workflow["fw_states"].values()) == ["DEFUSED", "WAITING"]
    assert _repair(launchpad) == []


def test_a_claim_that_nobody_will_publish_is_ready_again(
    bench: Workbench, launchpad: LaunchPad
) -> None:
    launchpad.add_wf(firework("it"))
    bench.claims.claim(10)
    [(what, done)] = _repair(launchpad)
    assert "never published" in what
    assert done == "READY again"
    assert bench.state("it") == "READY"


def test_a_wrong_copy_of_a_state_is_put_right(bench: Workbench, launchpad: LaunchPad) -> None:
    one, two = firework("one"), firework("two")
    launchpad.add_wf(Workflow([one, two], {one: [two]}))
    launchpad.fireworks.update_one({"name": "one"}, {"$set": {"state": "COMPLETED"}})
    [(what, done)] = _repair(launchpad)
    assert "wrong copies" in what
    assert done == "1 put right"
    assert (bench.state("one"), bench.state("two")) == ("COMPLETED", "READY")
