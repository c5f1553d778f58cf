"""`portfire monitor` as a user runs it."""

from __future__ import annotations

import json
import signal
import subprocess
import uuid
from pathlib import Path

import pytest
import requests

from events.publisher import EventPublisher
from messaging.broker import Broker
from messaging.settings import PubSubSettings
from tests.commands.programs import Ended, finish, portfire, start
from tests.services.mongodb import free_port


@pytest.fixture
def settings(broker: Broker) -> PubSubSettings:
    return PubSubSettings(emulator_host=broker.address, prefix=f"test-{uuid.uuid4().hex[:8]}")


def test_in_a_pipe_it_prints_a_line_with_what_happened(
    tmp_path: Path, settings: PubSubSettings
) -> None:
    lines, ended = _watch(tmp_path, settings, "--text", "--every", "0.2", until="1 failed")
    assert "1 running" in lines[-1]
    assert ended.code == 0
    assert ended.errors == ""


def test_with_json_each_line_is_a_snapshot(tmp_path: Path, settings: PubSubSettings) -> None:
    lines, ended = _watch(tmp_path, settings, "--json", "--every", "0.2", until='"failed": 1')
    last = json.loads(lines[-1])
    assert last["failures"][0]["reason"] == "exit code 3"
    assert ended.code == 0


def test_it_serves_the_page_until_it_is_told_to_stop(
    tmp_path: Path, settings: PubSubSettings
) -> None:
    process = _start(tmp_path, settings, "--port", "0")
    address = _address(process)
    assert requests.get(address, timeout=30).status_code == 200
    process.send_signal(signal.SIGTERM)
    ended = finish(process)
    assert (ended.code, ended.errors) == (0, "")


def test_bound_elsewhere_it_wants_the_token_that_it_prints(
    tmp_path: Path, settings: PubSubSettings
) -> None:
    process = _start(tmp_path, settings, "--port", "0", "--host", "0.0.0.0")
    address = _address(process)
    try:
        assert "?token=" in address
        assert requests.get(address, timeout=30).status_code == 200
        assert requests.get(address.partition("?")[0], timeout=30).status_code == 403
    finally:
        process.terminate()
        finish(process)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [(("--port", "70000"), "--port is 70000"), (("--text", "--every", "0"), "--every is 0.0")],
)
def test_a_wrong_flag_is_one_line(
    tmp_path: Path, arguments: tuple[str, ...], expected: str
) -> None:
    ended = portfire(tmp_path, "monitor", "--emulator-host", "127.0.0.1:1", *arguments)
    assert ended.code == 2
    assert expected in ended.error_line


def test_without_bokeh_it_names_the_extra(tmp_path: Path) -> None:
    # In the directory where it runs: found before the installed one.
    (tmp_path / "bokeh.py").write_text("raise ImportError('no bokeh here')\n")
    ended = portfire(tmp_path, "monitor", "--emulator-host", "127.0.0.1:1")
    assert ended.code == 2
    assert "pip install 'portfire[monitor]'" in ended.error_line


def test_without_pubsub_it_is_one_line(tmp_path: Path) -> None:
    ended = portfire(tmp_path, "monitor", "--emulator-host", f"127.0.0.1:{free_port()}", "--text")
    assert ended.code == 1
    assert ended.error_line


def _start(tmp_path: Path, settings: PubSubSettings, *arguments: str) -> subprocess.Popen[str]:
    return start(
        tmp_path,
        "monitor",
        "--emulator-host",
        settings.emulator_host,
        "--prefix",
        settings.prefix,
        *arguments,
    )


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("monitor: http://"), line
    return line.removeprefix("monitor: ").strip()


def _watch(
    tmp_path: Path, settings: PubSubSettings, *arguments: str, until: str
) -> tuple[list[str], Ended]:
    """Its lines up to the one with `until`, of a running and a failed job; and its end."""
    process = _start(tmp_path, settings, *arguments)
    assert process.stdout is not None
    lines: list[str] = []
    published = False
    for line in process.stdout:
        lines.append(line)
        if not published:
            # It has begun to watch.
            published = True
            _publish(settings)
        if until in line:
            break
    process.send_signal(signal.SIGINT)
    return lines, finish(process)


def _publish(settings: PubSubSettings) -> None:
    with settings.connect() as pubsub:
        events = EventPublisher(pubsub, settings.names, executor="executor-1")
        events.publish("job.started", id="1", thread=1, name="one")
        events.publish("job.started", id="2", thread=2, name="two")
        events.publish(
            "job.finished", id="2", thread=2, state="FIZZLED", phase="job", reason="exit code 3"
        )
        events.close(timeout=10.0)
