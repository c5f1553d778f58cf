"""Watching the metadata server: each change once, no hurry, and one line for an outage."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from executor.vm import watch as watching
from executor.vm.watch import MetadataWatch
from messaging.errors import UsageError
from tests.services.metadata_server import MetadataServer
from tests.waiting import wait_until

_PATH = "instance/preempted"


@contextmanager
def watch(host: str, on_value: Callable[[str], None]) -> Iterator[None]:
    started = MetadataWatch(host, _PATH, on_value, name="tested")
    started.start()
    yield
    started.stop()
    assert not started._thread.is_alive()


def test_each_change_is_told_once(metadata: MetadataServer) -> None:
    values: list[str] = []
    expected = ["FALSE"]
    with watch(metadata.host, values.append):
        for value in ("TRUE", "FALSE", "TRUE"):
            wait_until(lambda: values == expected, what=expected[-1])
            metadata.say_preempted(value)
            expected.append(value)
        wait_until(lambda: values == expected, what="the last")
    assert metadata.asked_for(_PATH, waiting=True)


def test_a_server_that_cannot_wait_is_asked_now_and_then(
    metadata: MetadataServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_POLL_SECONDS", 0.5)
    metadata.troubles.never_waits = True
    values: list[str] = []
    with watch(metadata.host, values.append):
        wait_until(lambda: len(metadata.asked) >= 3, what="three requests")
        metadata.preempt()
        wait_until(lambda: "TRUE" in values, what="the change")
    assert values == ["FALSE", "TRUE"]
    # Far fewer than a loop without a pause would send.
    assert len(metadata.asked) < 50


def test_an_outage_is_one_line_and_its_end_another(
    metadata: MetadataServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_FIRST_PAUSE", 0.05)
    monkeypatch.setattr(watching, "_LONGEST_PAUSE", 0.1)
    caplog.set_level(logging.INFO, "executor.vm")
    metadata.troubles.status = 503
    values: list[str] = []
    with watch(metadata.host, values.append):
        wait_until(lambda: len(metadata.asked) > 3, what="several requests")
        assert values == []
        metadata.troubles.status = 200
        wait_until(lambda: values, what="the value")
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert lines[0].endswith("answers instance/preempted with 503; asking again until it does")
    assert lines[1].endswith("answers again")


def test_a_value_that_cannot_be_used_is_one_line_and_the_watch_goes_on(
    metadata: MetadataServer, caplog: pytest.LogCaptureFixture
) -> None:
    values: list[str] = []

    def take(value: str) -> None:
        values.append(value)
        if value == "banana":
            raise UsageError("it is 'banana': expected something else")

    metadata.say_preempted("banana")
    with watch(metadata.host, take):
        wait_until(lambda: metadata.asked_for(_PATH, waiting=True), what="it waits")
        metadata.preempt()
        wait_until(lambda: len(values) > 1, what="the next value")
    assert [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING] == [
        "it is 'banana': expected something else"
    ]
