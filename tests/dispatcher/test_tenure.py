"""One dispatcher at a time, and another that stands by."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from fireworks import LaunchPad

from dispatcher.tenure import Tenure, TenureKeeper, TenureLostError
from tests.dispatcher.workbench import Running, firework
from tests.waiting import wait_until

_NO_PROCESS = 2**22 + 1


def _take_over(launchpad: LaunchPad, **fields: object) -> None:
    launchpad.db.portfire_dispatchers.update_one({"_id": "owner"}, {"$set": fields})


def test_the_office_is_held_by_one_at_a_time(launchpad: LaunchPad) -> None:
    first, second = Tenure(launchpad, "owner"), Tenure(launchpad, "owner")
    assert first.try_take()
    assert not second.try_take()
    assert Tenure(launchpad, "another owner").try_take()
    first.renew()
    first.give_up()
    assert second.try_take()
    with pytest.raises(TenureLostError, match="another dispatcher"):
        first.renew()


def test_a_dead_process_of_this_machine_is_succeeded_at_once(launchpad: LaunchPad) -> None:
    assert Tenure(launchpad, "owner").try_take()
    _take_over(launchpad, pid=_NO_PROCESS)
    assert Tenure(launchpad, "owner").try_take()


@pytest.mark.parametrize(
    ("changed", "is_gone"),
    [
        ({"started": 1.0}, True),  # its number is ours by now
        ({"started": 1.0, "machine": "another container"}, False),
        ({"pid": _NO_PROCESS, "machine": "another boot"}, False),
    ],
)
def test_a_process_number_speaks_only_for_its_own_machine_and_time(
    launchpad: LaunchPad, changed: dict[str, object], is_gone: bool
) -> None:
    assert Tenure(launchpad, "owner").try_take()
    _take_over(launchpad, **changed)
    assert Tenure(launchpad, "owner").try_take() is is_gone


def test_the_keeper_shows_that_we_live_and_tells_of_the_loss(launchpad: LaunchPad) -> None:
    tenure = Tenure(launchpad, "owner")
    assert tenure.try_take()
    lost: list[TenureLostError] = []
    keeper = TenureKeeper(tenure, lost.append, seconds=0.02)
    offices = launchpad.db.portfire_dispatchers
    wait_until(lambda: offices.find_one({"_id": "owner"})["beat"] > 2, what="beats")
    _take_over(launchpad, instance="successor")
    wait_until(lambda: lost, what="the loss")
    keeper.stop()
    assert "taken over" in str(lost[0])


def test_a_dispatcher_that_was_succeeded_stops(
    launchpad: LaunchPad,
    start_dispatcher: Callable[..., Running],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dispatcher.daemon.TenureKeeper", partial(TenureKeeper, seconds=0.05))
    running = start_dispatcher()
    offices = launchpad.db.portfire_dispatchers
    wait_until(lambda: offices.count_documents({}) == 1, what="the office")
    offices.update_one({}, {"$set": {"instance": "successor"}})
    running.join()
    assert isinstance(running.failure, TenureLostError)
    assert offices.count_documents({"instance": "successor"}) == 1


def test_an_incumbent_elsewhere_is_succeeded_when_it_has_been_silent(
    launchpad: LaunchPad, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Tenure(launchpad, "owner").try_take()
    _take_over(launchpad, host="elsewhere", pid=_NO_PROCESS)
    standby = Tenure(launchpad, "owner")
    now = 100.0
    monkeypatch.setattr("dispatcher.tenure.time.monotonic", lambda: now)
    assert not standby.try_take()
    now += 14.0
    assert not standby.try_take()
    _take_over(launchpad, beat=1)  # it lives after all
    now += 14.0
    assert not standby.try_take()
    now += 16.0
    assert standby.try_take()


def test_a_loss_is_remembered_across_a_crash_but_not_for_ever(launchpad: LaunchPad) -> None:
    first = Tenure(launchpad, "owner")
    assert first.try_take()
    assert not first.pubsub_is_new
    first.pubsub_is_new = True
    first.give_up()  # not while there is something to remember
    _take_over(launchpad, pid=_NO_PROCESS)
    second = Tenure(launchpad, "owner")
    assert second.try_take()
    assert second.pubsub_is_new
    second.pubsub_is_new = False
    second.give_up()
    assert launchpad.db.portfire_dispatchers.count_documents({}) == 0


def test_a_second_dispatcher_stands_by_and_takes_over(
    launchpad: LaunchPad, start_dispatcher: Callable[..., Running]
) -> None:
    first = start_dispatcher()
    launchpad.add_wf(firework("one"))
    assert [job.name for job in first.pull()] == ["one"]
    second = start_dispatcher()
    launchpad.add_wf(firework("two"))
    assert [job.name for job in first.pull()] == ["two"]
    assert second.dispatcher.in_flight == 0
    first.stop()
    wait_until(lambda: second.dispatcher.in_flight == 2, what="the takeover")
    launchpad.add_wf(firework("three"))
    assert [job.name for job in second.pull()] == ["three"]
