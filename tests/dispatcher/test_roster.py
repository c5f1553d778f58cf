"""Dispatchers that know of each other: who lives, who keeps house, and who was taken for dead."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fireworks import LaunchPad

from dispatcher.beats import Beats
from dispatcher.roster import MembershipLostError, Roster
from tests.dispatcher.workbench import Running, firework
from tests.waiting import wait_until

_NO_PROCESS = 2**22 + 1


def _joined(launchpad: LaunchPad) -> Roster:
    roster = Roster(launchpad, "owner")
    roster.join()
    return roster


def _change(launchpad: LaunchPad, roster: Roster, **fields: object) -> None:
    where = {"_id": f"owner/{roster.instance}"}
    launchpad.db.portfire_dispatchers.update_one(where, {"$set": fields})


def test_the_first_keeps_house_and_another_when_it_leaves(launchpad: LaunchPad) -> None:
    first, second = _joined(launchpad), _joined(launchpad)
    assert (first.look().keeps_house, second.look().keeps_house) == (True, False)
    assert second.look().living == {first.instance, second.instance}
    assert not first.look().is_new_in_office
    first.leave()
    company = second.look()
    assert (company.keeps_house, company.is_new_in_office) == (True, True)
    assert company.living == {second.instance}


def test_a_dead_process_of_this_machine_is_succeeded_at_once(launchpad: LaunchPad) -> None:
    first, second = _joined(launchpad), _joined(launchpad)
    first.look()
    _change(launchpad, first, pid=_NO_PROCESS)
    company = second.look()
    assert [member.instance for member in company.dead] == [first.instance]
    assert company.keeps_house
    assert second.strike_off(company.dead[0])
    with pytest.raises(MembershipLostError, match="taken over"):
        first.beat()
    assert second.look().dead == ()


@pytest.mark.parametrize(
    ("changed", "is_dead"),
    [
        ({"started": 1.0}, True),  # its number is ours by now
        ({"started": 1.0, "machine": "another container"}, False),
        ({"pid": _NO_PROCESS, "machine": "another boot"}, False),
    ],
)
def test_a_process_number_speaks_only_for_its_own_machine_and_time(
    launchpad: LaunchPad, changed: dict[str, object], is_dead: bool
) -> None:
    first, second = _joined(launchpad), _joined(launchpad)
    _change(launchpad, first, **changed)
    assert bool(second.look().dead) is is_dead


def test_one_elsewhere_is_dead_when_it_has_been_silent_by_our_own_clock(
    launchpad: LaunchPad, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = _joined(launchpad), _joined(launchpad)
    _change(launchpad, first, host="elsewhere", pid=_NO_PROCESS)
    now = 100.0
    monkeypatch.setattr("dispatcher.roster.time.monotonic", lambda: now)
    assert not second.look().dead
    now += 14.0
    assert not second.look().dead
    _change(launchpad, first, beat=1)  # it lives after all
    assert not second.look().dead
    now += 14.0
    assert not second.look().dead
    now += 2.0
    [dead] = second.look().dead
    _change(launchpad, first, beat=2)
    assert not second.strike_off(dead)  # it has beaten at the last moment
    first.beat()


def test_whoever_was_stopped_for_long_asks_before_it_goes_on(
    launchpad: LaunchPad, monkeypatch: pytest.MonkeyPatch
) -> None:
    roster = _joined(launchpad)
    launchpad.db.portfire_dispatchers.delete_one({"_id": f"owner/{roster.instance}"})
    roster.check()  # it has beaten a moment ago
    began = roster._beaten
    monkeypatch.setattr("dispatcher.roster.time.monotonic", lambda: began + 9.0)
    with pytest.raises(MembershipLostError):
        roster.check()


def test_losses_are_counted_for_all_and_for_ever(launchpad: LaunchPad) -> None:
    first, second = _joined(launchpad), _joined(launchpad)
    assert first.look().losses == 0
    assert (first.note_loss(), second.note_loss()) == (1, 2)
    first.leave()
    second.leave()
    assert _joined(launchpad).look().losses == 2


def test_beats_show_that_we_live_and_tell_of_the_loss(launchpad: LaunchPad) -> None:
    roster = _joined(launchpad)
    lost: list[MembershipLostError] = []
    beats = Beats(roster, lambda: {"in_flight": 7}, lost.append, seconds=0.02)
    members = launchpad.db.portfire_dispatchers
    where = {"_id": f"owner/{roster.instance}"}
    wait_until(lambda: members.find_one({**where, "beat": {"$gt": 2}}), what="beats")
    assert members.find_one(where)["report"] == {"in_flight": 7}
    members.delete_one(where)
    wait_until(lambda: lost, what="the loss")
    beats.stop()


def test_a_dispatcher_that_was_struck_off_stops(
    launchpad: LaunchPad,
    start_dispatcher: Callable[..., Running],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dispatcher.roster._DOUBT_SECONDS", 0.05)
    running = start_dispatcher()
    launchpad.add_wf(firework("it"))
    assert len(running.pull()) == 1
    launchpad.db.portfire_dispatchers.delete_many(
        {"instance": {"$exists": True}, "pid": {"$gt": 0}}
    )
    running.join()
    assert isinstance(running.failure, MembershipLostError)
