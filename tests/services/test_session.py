"""Turns, and what a session's processes share."""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.services import session
from tests.waiting import wait_until


@pytest.fixture(autouse=True)
def _own_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTFIRE_TEST_SESSION", str(tmp_path))


class _Test(threading.Thread):
    """A test that takes its turn, notes it in `running`, and goes on when told."""

    def __init__(self, name: str, running: list[str], *, alone: bool = False) -> None:
        super().__init__(name=name, daemon=True)
        self._running = running
        self._alone = alone
        self._go_on = threading.Event()
        self.start()

    def run(self) -> None:
        with session.turn(alone=self._alone):
            self._running.append(self.name)
            self._go_on.wait(20.0)
            self._running.remove(self.name)

    def end(self) -> None:
        self._go_on.set()
        self.join(20.0)


def test_one_who_wants_to_be_alone_waits_and_is_not_overtaken(tmp_path: Path) -> None:
    running: list[str] = []
    first, second = _Test("first", running), _Test("second", running)
    wait_until(lambda: len(running) == 2, what="two tests side by side")
    alone = _Test("alone", running, alone=True)
    wait_until(_door_is_closed(tmp_path), what="the one who waits to close the door")
    late = _Test("late", running)
    first.end()
    assert running == ["second"]
    second.end()
    wait_until(lambda: running == ["alone"], what="the one who waited")
    alone.end()
    wait_until(lambda: running == ["late"], what="the latecomer")
    late.end()


def test_what_is_shared_is_started_once() -> None:
    started: list[int] = []

    def start() -> dict[str, int]:
        started.append(1)
        return {"port": 4}

    assert session.shared("server", start) == {"port": 4}
    assert session.shared("server", start) == {"port": 4}
    assert started == [1]


def test_a_failed_start_is_tried_again() -> None:
    def fail() -> dict[str, int]:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        session.shared("server", fail)
    assert session.shared("server", lambda: {"port": 5}) == {"port": 5}


def _door_is_closed(directory: Path) -> Callable[[], bool]:
    def closed() -> bool:
        with (directory / "door.lock").open("a") as door:
            try:
                fcntl.flock(door, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    return closed
