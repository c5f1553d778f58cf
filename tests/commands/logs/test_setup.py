"""Where a daemon's log goes, by flags, environment, the VM and its attributes."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator

import pytest

from commands.logs import setup
from commands.logs.cloud_handler import CloudLogHandler
from executor.task_log import TASK_LOGGER
from executor.vm.place import Vm
from messaging.errors import UsageError

VM = Vm(host="127.0.0.1:1", name="vm-1", project="my-project")


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No environment of the machine's, and loggers as before."""
    for name in ("PORTFIRE_LOG_FORMAT", "PORTFIRE_LOG_LEVEL", "PUBSUB_EMULATOR_HOST"):
        monkeypatch.delenv(name, raising=False)
    loggers = [logging.getLogger(), logging.getLogger(TASK_LOGGER)]
    before = [(list(it.handlers), it.level, it.propagate) for it in loggers]
    yield
    for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
        logger.handlers[:] = handlers
        logger.setLevel(level)
        logger.propagate = propagate


def _args(**fields: object) -> argparse.Namespace:
    known = {"emulator_host": None, "project": None, "log_format": None, "log_level": None}
    return argparse.Namespace(**{**known, **fields})


@pytest.mark.parametrize(
    ("vm", "fields", "environ", "is_cloud"),
    [
        (VM, {}, {}, True),
        (None, {}, {}, False),
        (VM, {"log_format": "text"}, {}, False),
        (VM, {}, {"PORTFIRE_LOG_FORMAT": "JSON"}, False),
        # With an emulator nothing is meant for Google, unless it is said.
        (VM, {"emulator_host": "localhost:1"}, {}, False),
        (VM, {"emulator_host": "localhost:1", "log_format": "cloud"}, {}, True),
        (None, {"project": "my-project", "log_format": "cloud"}, {}, True),
        # A part of `portfire run` speaks as that does.
        (VM, {"stop_with_parent": True}, {"PORTFIRE_LOG_FORMAT": "cloud"}, False),
    ],
)
def test_it_goes_to_the_cloud_on_a_vm_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch,
    vm: Vm | None,
    fields: dict[str, object],
    environ: dict[str, str],
    is_cloud: bool,
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(CloudLogHandler, "end", lambda *_: 0)
    with setup.daemon_log(_args(**fields), vm, on_vm=True) as log:
        log.check()
        assert log.is_cloud == is_cloud


def test_an_attribute_of_the_vm_says_it_for_its_own_executor_only() -> None:
    vm = Vm(host=VM.host, project="my-project", attributes={"log_format": "json"})
    with setup.daemon_log(_args(), vm, on_vm=True) as log:
        assert not log.is_cloud


def test_wrong_settings_are_raised_where_they_can_be_dealt_with() -> None:
    vm = Vm(host=VM.host, project="my-project", attributes={"log_level": "loud"})
    with setup.daemon_log(_args(), vm, on_vm=True) as log, pytest.raises(UsageError) as caught:
        log.check()
    assert str(caught.value).startswith("metadata attribute log_level is 'loud': ")


@pytest.mark.parametrize(
    ("level", "wanted"), [(None, True), ("DEBUG", True), ("INFO", False), ("ERROR", False)]
)
def test_lines_of_tasks_belong_to_the_clouds_log_unless_a_level_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, level: str | None, wanted: bool
) -> None:
    monkeypatch.setattr(CloudLogHandler, "end", lambda *_: 0)
    with setup.daemon_log(_args(log_level=level), VM, on_vm=True) as log:
        assert log.wants_tasks == wanted


def test_tasks_lines_go_to_the_cloud_alone_and_what_else_is_at_debug_does_not(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    taken: list[str] = []
    monkeypatch.setattr(CloudLogHandler, "emit", lambda _, record: taken.append(record.msg))
    monkeypatch.setattr(CloudLogHandler, "begin", lambda *_: None)
    monkeypatch.setattr(CloudLogHandler, "end", lambda *_: 0)
    with setup.daemon_log(_args(), VM, on_vm=True) as log:
        log.show_tasks()
        logging.getLogger(TASK_LOGGER).debug("a line")
        chatty = logging.getLogger("tests.chatty")
        chatty.setLevel(logging.DEBUG)
        chatty.debug("detail")
        chatty.warning("trouble")
    assert taken == ["a line", "trouble"]
    assert "a line" not in caplog.text
