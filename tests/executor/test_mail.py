"""What a child writes to its pipe: in order, whole, and little of it at a time."""

from __future__ import annotations

import multiprocessing
import threading
from multiprocessing.connection import Connection

import pytest

from executor.mail import Mail
from executor.records import UNSENDABLE, Done, TaskEvent, Upward, unpacked


@pytest.fixture
def ends() -> tuple[Connection, Mail]:
    """The executor's end, and the child's."""
    ours, theirs = multiprocessing.Pipe()
    return ours, Mail(theirs)


def event(number: int) -> TaskEvent:
    return TaskEvent("job.note", {"number": number})


def next_message(end: Connection) -> list[Upward]:
    assert end.poll(20)
    return list(unpacked(end.recv_bytes()))


def test_events_travel_with_what_comes_after_them(
    ends: tuple[Connection, Mail], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("executor.mail._WAIT_SECONDS", 600.0)
    executor, mail = ends
    mail.post(event(1))
    mail.post(event(2))
    mail.send(Done(None))
    assert next_message(executor) == [event(1), event(2), Done(None)]
    assert not executor.poll()


def test_an_event_with_nothing_after_it_comes_all_the_same(ends: tuple[Connection, Mail]) -> None:
    executor, mail = ends
    for number in range(3):
        mail.post(event(number))
        assert next_message(executor) == [event(number)]


def test_what_cannot_travel_harms_nothing_else(ends: tuple[Connection, Mail]) -> None:
    executor, mail = ends
    mail.post(event(1))
    with pytest.raises(UNSENDABLE):
        mail.post(TaskEvent("job.note", {"lock": threading.Lock()}))
    mail.send(Done(None))
    records = next_message(executor)
    while records[-1] != Done(None):
        records += next_message(executor)
    assert records == [event(1), Done(None)]


def test_much_does_not_wait(ends: tuple[Connection, Mail], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("executor.mail._WAIT_SECONDS", 600.0)
    executor, mail = ends
    big = TaskEvent("job.note", {"text": "x" * 100_000})
    reader: list[list[Upward]] = []
    thread = threading.Thread(target=lambda: reader.append(next_message(executor)))
    thread.start()
    mail.post(big)
    thread.join(20)
    assert reader == [[big]]
