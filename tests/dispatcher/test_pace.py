"""How often the LaunchPad is asked, and how much is claimed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fireworks import LaunchPad

from dispatcher.pace import BUSY_SECONDS, Pace
from dispatcher.ready_watch import ReadyWatch
from dispatcher.receiver import Inbox
from dispatcher.window import Window
from tests.dispatcher.workbench import firework
from tests.services.mongodb import launchpads
from tests.services.replica_set import ReplicaSet
from tests.waiting import wait_until


def test_it_asks_often_after_work_and_seldom_later() -> None:
    pace = Pace(0.05, 0.3)
    pace.worked(100.0)
    assert pace.is_due(100.0, woken=False)
    assert not pace.is_due(100.04, woken=False)
    assert pace.is_due(100.05, woken=False)
    assert pace.wait_seconds(100.06) == pytest.approx(0.04)
    idle = 100.0 + BUSY_SECONDS + 1.0
    assert pace.is_due(idle, woken=False)
    assert not pace.is_due(idle + 0.29, woken=False)
    assert 1.0 / pace._interval(idle) < 5.0
    assert pace.is_due(idle + 0.29, woken=True)
    # Once more soon: what woke it was perhaps half written.
    assert pace.is_due(idle + 0.34, woken=False)
    assert not pace.is_due(idle + 0.4, woken=False)


def test_with_a_change_stream_it_waits_to_be_told() -> None:
    pace = Pace(0.05, 0.3)
    pace.worked(100.0)
    assert pace.is_due(100.5, woken=False)
    assert not pace.wants_watch.is_set()
    assert pace.is_due(101.5, woken=False)
    assert pace.wants_watch.is_set()
    pace.is_watched.set()
    assert pace.is_due(102.0, woken=False)
    assert not pace.is_due(106.9, woken=False)
    assert pace.is_due(102.5, woken=True)
    pace.worked(103.0)  # its own work would come back through the stream
    assert not pace.wants_watch.is_set()
    assert pace.is_due(103.0, woken=False)
    assert pace.is_due(103.1, woken=False)


@pytest.fixture
def replica_set() -> Iterator[LaunchPad]:
    """A LaunchPad on a replica set of one."""
    with ReplicaSet() as server, launchpads(server.address) as make:
        yield make()


def test_a_replica_set_tells_of_what_becomes_ready(replica_set: LaunchPad) -> None:
    pace, inbox = Pace(0.05), Inbox()
    watch = ReadyWatch(replica_set, pace, inbox.nudge)
    assert not pace.is_watched.is_set()
    pace.wants_watch.set()
    wait_until(pace.is_watched.is_set, what="the stream")
    wait_until(inbox.take_nudge, what="a first look")  # what came before the stream
    replica_set.add_wf(firework("it"))
    wait_until(inbox.take_nudge, what="word of a new one")
    replica_set.fireworks.update_one({}, {"$set": {"state": "WAITING"}})
    replica_set.fireworks.update_one({}, {"$set": {"state": "READY"}})
    wait_until(inbox.take_nudge, what="word of a change")
    pace.worked(1.0)
    wait_until(lambda: not pace.is_watched.is_set(), what="the stream to be closed")
    watch.stop()


def test_without_a_replica_set_the_watch_ends(launchpad: LaunchPad) -> None:
    pace, inbox = Pace(0.05), Inbox()
    pace.wants_watch.set()
    watch = ReadyWatch(launchpad, pace, inbox.nudge)
    wait_until(lambda: not watch._thread.is_alive(), what="its end")
    assert not pace.is_watched.is_set()
    assert not inbox.take_nudge()
    watch.stop()


def test_room_follows_slots_and_the_rate_of_results(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("dispatcher.window.time.monotonic", lambda: now)
    window = Window(None)
    assert window.share(slots=0, members=1) == 64
    assert window.share(slots=100, members=1) == 464
    assert window.share(slots=100, members=2) == 232
    window.ended(1200)
    assert window.share(slots=0, members=2) == 600
    window.ended(9000)
    assert window.share(slots=0, members=1) == 1000
    now += 10.0
    assert window.share(slots=0, members=1) == 64


def test_a_chosen_limit_is_shared_as_it_is() -> None:
    window = Window(7)
    window.ended(5000)
    assert (window.share(1000, 1), window.share(1000, 2), window.share(0, 3)) == (7, 4, 3)
