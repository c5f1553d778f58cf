"""Records reach Cloud Logging, or are counted; whoever logs never waits."""

from __future__ import annotations

import logging
import threading

import grpc
import pytest

from commands.logs import cloud_handler
from commands.logs.cloud_handler import CloudLogHandler
from commands.logs.cloud_service import CloudLogging
from tests.commands.logs.conftest import MakeHandler
from tests.services.cloud_logging import FakeCloudLogging
from tests.waiting import wait_until


def _said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the handler itself says, on the console."""
    return [it.getMessage() for it in caplog.records if it.name == cloud_handler.__name__]


def test_a_record_arrives_with_its_labels_and_the_daemons(
    cloud: FakeCloudLogging, handlers: MakeHandler, logger: logging.Logger
) -> None:
    handler = handlers()
    logger.addHandler(handler)
    logger.warning("before it is known who logs")
    handler.begin({"executor": "vm-1", "pool": "gpu"})
    logger.info("job %s COMPLETED", "j1", extra={"job": "j1", "firework": 7, "workflow": "w"})
    assert handler.end(30.0) == 0
    first, second = cloud.entries
    assert first.text_payload == "before it is known who logs"
    assert (first.severity, second.severity) == (400, 200)  # Cloud Logging's WARNING and INFO
    assert dict(second.labels) == {
        "executor": "vm-1",
        "pool": "gpu",
        "job": "j1",
        "firework": "7",
        "workflow": "w",
        "logger": "tests.cloud",
    }
    assert second.resource.type == "global"
    assert second.resource.labels["project_id"] == "my-project"


def test_an_exception_and_a_wrong_format_do_no_harm(
    cloud: FakeCloudLogging,
    handlers: MakeHandler,
    logger: logging.Logger,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)
    logger.addHandler(handler := handlers())
    logger.error("it failed", exc_info=ValueError("no number"))
    logger.info("%d", "no number")
    logger.info("x" * 1_000_000)
    assert handler.end(30.0) == 0
    failed, long = cloud.texts()
    assert failed.startswith("it failed\n")
    assert failed.endswith("ValueError: no number")
    assert long.endswith("x [cut]")


def test_a_slow_service_delays_nobody_and_what_finds_no_room_is_counted(
    cloud: FakeCloudLogging, handlers: MakeHandler, logger: logging.Logger
) -> None:
    cloud.may_answer.clear()
    logger.addHandler(handler := handlers(max_entries=100))
    handler.begin({})
    logger.info("first")
    wait_until(lambda: cloud.requests, what="the first request")
    done = threading.Event()

    def write() -> None:
        for number in range(1000):
            logger.info("line %d", number)
        done.set()

    threading.Thread(target=write, daemon=True).start()
    assert done.wait(20.0), "logging waits for the service"
    assert handler.dropped == 900
    cloud.may_answer.set()
    assert handler.end(30.0) == 900
    assert cloud.texts() == ["first", *(f"line {number}" for number in range(100))]


def test_tasks_lines_leave_room_for_the_rest(
    cloud: FakeCloudLogging, handlers: MakeHandler, logger: logging.Logger
) -> None:
    logger.addHandler(handler := handlers(max_entries=100))
    for number in range(80):
        logger.debug("line %d", number)
    for number in range(50):
        logger.info("job %d", number)
    assert handler.end(30.0) == 30
    assert len([text for text in cloud.texts() if text.startswith("job")]) == 50


@pytest.mark.parametrize("code", [grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAVAILABLE])
def test_while_it_refuses_entries_are_kept_and_told_of_once(
    cloud: FakeCloudLogging,
    handlers: MakeHandler,
    logger: logging.Logger,
    caplog: pytest.LogCaptureFixture,
    code: grpc.StatusCode,
) -> None:
    cloud.refuse = code
    logger.addHandler(handler := handlers())
    handler.begin({})
    logger.info("one")
    wait_until(lambda: cloud.requests >= 3, what="another attempt")
    cloud.refuse = None
    logger.info("two")
    assert handler.send_all(30.0)
    assert cloud.texts() == ["one", "two"]
    said = _said(caplog)
    assert len(said) == 2
    assert "jobs go on" in said[0]
    assert said[1] == "Cloud Logging takes log entries again"


def test_what_was_stored_though_the_answer_was_lost_is_not_stored_twice(
    cloud: FakeCloudLogging, handlers: MakeHandler, logger: logging.Logger
) -> None:
    cloud.lose_answers = 2
    logger.addHandler(handler := handlers())
    logger.info("once")
    assert handler.end(30.0) == 0
    assert cloud.requests == 3
    assert cloud.texts() == ["once"]


def test_entries_that_the_service_does_not_want_are_counted(
    cloud: FakeCloudLogging, handlers: MakeHandler, logger: logging.Logger
) -> None:
    cloud.unwanted = "bad"
    logger.addHandler(handler := handlers())
    for text in ("bad", "good", "as bad"):
        logger.info(text)
    assert handler.end(30.0) == 2
    assert (cloud.texts(), cloud.requests) == (["good"], 1)


def test_a_request_that_is_wrong_as_a_whole_is_not_sent_again(
    cloud: FakeCloudLogging, handlers: MakeHandler, logger: logging.Logger
) -> None:
    cloud.refuse = grpc.StatusCode.INVALID_ARGUMENT
    logger.addHandler(handler := handlers())
    logger.info("one")
    assert handler.end(30.0) == 1
    assert cloud.requests == 1


@pytest.mark.parametrize("trouble", ["gone", "hangs", "refuses"])
def test_the_end_is_bounded_whatever_the_service_does(
    cloud: FakeCloudLogging, handlers: MakeHandler, logger: logging.Logger, trouble: str
) -> None:
    logger.addHandler(handler := handlers())
    if trouble == "gone":
        cloud.close()
    elif trouble == "hangs":
        cloud.may_answer.clear()
    else:
        cloud.refuse = grpc.StatusCode.PERMISSION_DENIED
    for number in range(3000):
        logger.info("line %d", number)
    ended = threading.Event()
    lost: list[int] = []

    def end() -> None:
        lost.append(handler.end(0.5))
        ended.set()

    threading.Thread(target=end, daemon=True).start()
    assert ended.wait(20.0), "the end waits for the service"
    assert lost == [3000]


def test_without_credentials_one_line_says_so(
    monkeypatch: pytest.MonkeyPatch, logger: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    import google.auth.exceptions

    def no_credentials(**_: object) -> None:
        raise google.auth.exceptions.DefaultCredentialsError("none")

    monkeypatch.setattr("google.auth.default", no_credentials)
    logger.addHandler(handler := CloudLogHandler(CloudLogging("my-project")))
    handler.begin({})
    logger.info("one")
    wait_until(lambda: _said(caplog), what="the complaint")
    assert handler.end(0.5) == 1
    [said] = _said(caplog)
    assert said.startswith("no credentials for Cloud Logging: give the VM")
