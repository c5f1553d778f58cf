"""`portfire metrics` with exporters, as a user runs it beside an executor."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from messaging.broker import Broker
from messaging.pubsub import Outgoing, PubSub
from messaging.topology import ensure_pool
from tests.acceptance.daemons import Daemons
from tests.commands.programs import finish, portfire, start
from tests.events.exporters.receiving import collector, sample, udp_server
from tests.services.mongodb import free_port
from tests.waiting import wait_until

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def daemons(tmp_path: Path, broker: Broker) -> Iterator[Daemons]:
    with Daemons(tmp_path, broker.address, f"test-{uuid.uuid4().hex[:8]}") as daemons:
        yield daemons


def told(process: subprocess.Popen[str], number: int) -> list[str]:
    """The first lines on standard error: where things go."""
    assert process.stderr is not None
    lines = [process.stderr.readline() for _ in range(number)]
    assert all(line.startswith("metrics: ") for line in lines), lines
    return [line.removeprefix("metrics: ").strip() for line in lines]


def test_jobs_reach_all_exporters_at_once(daemons: Daemons, tmp_path: Path) -> None:
    with udp_server() as statsd, collector() as otel:
        process = start(
            tmp_path,
            *("metrics", "--prometheus", ":0", "--csv", "jobs.csv", "--otlp", otel.url),
            *("--statsd", f"127.0.0.1:{statsd.getsockname()[1]}"),
            **daemons.variables,
        )
        try:
            where = told(process, 4)[0]
            daemons.start_executor()
            run_jobs(daemons)
            done = {"pool": "default", "state": "COMPLETED"}
            wait_until(lambda: sample(where, "portfire_jobs_total", **done) == 2, what="counters")
            failed = {"pool": "default", "phase": "execution"}
            wait_until(lambda: sample(where, "portfire_job_failures_total", **failed), what="it")
            wait_until(lambda: sample(where, "portfire_events_malformed_total"), what="garbage")
            assert sample(where, "portfire_job_seconds_count", **done) == 2
            assert sample(where, "portfire_executor_slots", pool="default", state="idle") == 2
        finally:
            process.send_signal(signal.SIGTERM)
            ended = finish(process)
        assert (ended.code, ended.output) == (0, "")
        assert "Traceback" not in ended.errors
        wait_for_line(statsd, "portfire.jobs.default.COMPLETED")
    check_files_and_spans(tmp_path, [span.trace_id.hex() for span in otel.spans])


def run_jobs(daemons: Daemons) -> None:
    """Two that go well, one of them in its sender's trace, one that fails; and garbage."""
    with PubSub("portfire-local", daemons.address) as pubsub:
        ensure_pool(pubsub, daemons.names, "default", 10.0)
        jobs: dict[str, tuple[dict[str, Any], str | None]] = {
            "traced": ({"executable": "sh", "args": ["-c", "echo $TRACEPARENT >$OUT"]}, PARENT),
            "plain": ({"executable": "true"}, None),
            "bad": ({"executable": "false"}, None),
        }
        out = str(daemons.directory / "traceparent")
        for job, (body, parent) in jobs.items():
            attributes = {"job": job, "pool": "default", "type": "raw"}
            attributes |= {"traceparent": parent} if parent else {}
            data = json.dumps({**body, "env": {"OUT": out}}).encode()
            pubsub.publish(daemons.names.jobs, [Outgoing(data, attributes)])
        pubsub.publish(daemons.names.events, [Outgoing(b"\xffgarbage{")])


def check_files_and_spans(directory: Path, traces: list[str]) -> None:
    header, *rows = (directory / "jobs.csv").read_text().splitlines()
    assert header.startswith("executor,thread,job,")
    assert sorted(row.split(",")[2] for row in rows) == ["bad", "plain", "traced"]
    assert len(set(traces)) == 3
    version, trace, span, flags = (directory / "traceparent").read_text().strip().split("-")
    assert (version, trace, flags) == ("00", PARENT.split("-")[1], "01")
    assert span != PARENT.split("-")[2]
    assert trace in traces


def wait_for_line(server: socket.socket, begin: str) -> None:
    """A line that begins so is among the datagrams that came."""

    def came() -> bool:
        return any(line.startswith(begin) for line in server.recv(65536).decode().splitlines())

    wait_until(came, what=begin)


def test_without_exporters_it_prints_lines_as_ever(tmp_path: Path, broker: Broker) -> None:
    process = start(tmp_path, "metrics", "--emulator-host", broker.address)
    assert process.stdout is not None
    line = process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    ended = finish(process)
    assert line.startswith("executor\tthread\tjob\t")
    assert (ended.code, ended.errors) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--prometheus", "nonsense"), "--prometheus is 'nonsense': expected HOST:PORT"),
        (("--statsd", ":x"), "--statsd is ':x'"),
        (("--otlp", "localhost:4318"), "--otlp is 'localhost:4318': expected the URL"),
        (("--csv", "no/such/place.csv"), "cannot write no/such/place.csv"),
        (("--statsd-tags",), "--statsd-tags is without --statsd"),
    ],
)
def test_a_wrong_flag_is_one_line(
    tmp_path: Path, arguments: tuple[str, ...], expected: str
) -> None:
    ended = portfire(tmp_path, "metrics", "--emulator-host", "127.0.0.1:1", *arguments)
    assert ended.code == 2
    assert expected in ended.error_line


@pytest.mark.parametrize(
    ("module", "flag", "value", "extra"),
    [
        ("prometheus_client", "--prometheus", ":0", "prometheus"),
        ("opentelemetry", "--otlp", "http://127.0.0.1:1", "otel"),
    ],
)
def test_without_its_library_a_flag_names_the_extra(
    tmp_path: Path, module: str, flag: str, value: str, extra: str
) -> None:
    # In the directory where it runs: found before the installed one.
    (tmp_path / f"{module}.py").write_text("raise ImportError('not here')\n")
    ended = portfire(tmp_path, "metrics", "--emulator-host", "127.0.0.1:1", flag, value)
    assert ended.code == 2
    assert f"pip install 'portfire[{extra}]'" in ended.error_line


def test_without_pubsub_it_is_one_line(tmp_path: Path) -> None:
    ended = portfire(
        tmp_path, "metrics", "--emulator-host", f"127.0.0.1:{free_port()}", "--prometheus", ":0"
    )
    assert ended.code == 1
    assert ended.error_line


def test_quiet_it_says_nothing(tmp_path: Path, broker: Broker) -> None:
    process = start(
        tmp_path, "metrics", "-q", "--csv", "jobs.csv", "--emulator-host", broker.address
    )
    wait_until((tmp_path / "jobs.csv").is_file, what="the file")
    process.send_signal(signal.SIGTERM)
    ended = finish(process)
    assert (ended.output, ended.errors) == ("", "")
    assert (tmp_path / "jobs.csv").read_text().startswith("executor,thread,job,")
