"""Lines of StatsD, as a server gets them."""

from __future__ import annotations

import logging
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.exporters import meters
from events.exporters.statsd import StatsdExporter, datagrams
from messaging.errors import UsageError
from tests.events.exporters.receiving import udp_server


def measure(exporter: StatsdExporter) -> None:
    labels = {"pool": "big mem.2", "state": "COMPLETED"}
    exporter.record(meters.JOBS, 1, labels)
    exporter.record(meters.JOBS, 2, labels)
    exporter.record(meters.PHASE_SECONDS, 0.0125, {"pool": "gpu", "phase": "stage-in"})
    exporter.record(meters.DISK_FREE, 9, {"pool": "gpu"})
    exporter.record(meters.DISK_FREE, 1e15, {"pool": "gpu"})
    exporter.record(meters.EVENTS_MALFORMED, 1, {})
    exporter.flush()


def received(server: socket.socket) -> set[str]:
    return set(server.recv(65536).decode().splitlines())


@pytest.mark.parametrize(
    ("tags", "lines"),
    [
        (
            False,
            {
                "portfire.jobs.big_mem_2.COMPLETED:3|c",
                "portfire.job_phase.gpu.stage-in:12.5|ms",
                "portfire.executor_disk_free_bytes.gpu:1000000000000000|g",
                "portfire.events_malformed:1|c",
            },
        ),
        (
            True,
            {
                "portfire.jobs:3|c|#pool:big_mem.2,state:COMPLETED",
                "portfire.job_phase:12.5|ms|#pool:gpu,phase:stage-in",
                "portfire.executor_disk_free_bytes:1000000000000000|g|#pool:gpu",
                "portfire.events_malformed:1|c",
            },
        ),
    ],
)
def test_what_was_measured_is_sent_once(tags: bool, lines: set[str]) -> None:
    with udp_server() as server:
        host, port = server.getsockname()
        exporter = StatsdExporter(host, port, tags=tags)
        measure(exporter)
        assert received(server) == lines
        exporter.flush()
        exporter.record(meters.EVENTS_MALFORMED, 4, {})
        exporter.flush()
        assert received(server) == {"portfire.events_malformed:4|c"}
        exporter.close()


def test_a_server_that_is_away_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    with udp_server() as server:
        address = server.getsockname()
    exporter = StatsdExporter(*address)
    with caplog.at_level(logging.WARNING):
        for _ in range(20):
            measure(exporter)
    exporter.close()
    assert len(caplog.records) <= 1


def test_a_host_that_is_none_is_one_line() -> None:
    with pytest.raises(UsageError, match=r"cannot send to StatsD at no-such-host\.invalid:8125"):
        StatsdExporter("no-such-host.invalid", 8125)


@given(st.lists(st.text(st.characters(codec="ascii", categories=["L"]), min_size=1)))
def test_datagrams_are_whole_lines_within_the_size(lines: list[str]) -> None:
    packed = list(datagrams(lines, size=20))
    assert b"\n".join(packed).decode().split("\n") == (lines or [""])
    assert all(len(data) <= 20 or b"\n" not in data for data in packed)
