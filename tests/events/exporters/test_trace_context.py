"""W3C trace context."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.exporters import trace_context
from events.exporters.trace_context import TraceContext, parse
from executor.held_job import HeldJob
from messaging.leases import Lease
from messaging.pubsub import Received
from messaging.wire import LaunchJob, RawJob
from tests.executor.workflows import launch

HEADER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def held(job: LaunchJob | RawJob, **attributes: str) -> HeldJob:
    message = Received("ack", b"", {"job": "j", **attributes}, "message", 0.0, 1)
    return HeldJob(job, message, Lease("label", message, 0.0, 60.0))


def test_a_header_is_read_and_written() -> None:
    context = parse(HEADER)
    assert context == TraceContext("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
    assert context.header() == HEADER
    assert parse(HEADER[:-1] + "0") == TraceContext(context.trace_id, context.span_id, False)
    assert parse(f"cc{HEADER[2:]}-what-comes-later") == context


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        7,
        "",
        HEADER + "-more",
        HEADER.upper(),
        "ff" + HEADER[2:],
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-0af7651916cd43dd8448eb211c80319c-{'0' * 16}-01",
        HEADER + "\n",
    ],
)
def test_what_is_no_header_is_no_context(wrong: Any) -> None:
    assert parse(wrong) is None


@given(st.text(), st.text(), st.floats(0, 1e10))
def test_ids_are_valid_and_follow_from_the_job(job: str, scope: str, started: float) -> None:
    run = trace_context.of_job(job, scope).job_span(job).run_span(job, started)
    assert parse(run.header()) == run
    assert trace_context.of_job(job, scope).job_span(job).run_span(job, started) == run


def test_the_context_of_a_message_is_in_all_events_of_its_job() -> None:
    raw = RawJob(executable="true")
    assert held(raw, traceparent=HEADER).event_fields()["traceparent"] == HEADER
    assert "traceparent" not in held(raw).event_fields()
    assert "traceparent" not in held(raw, traceparent="garbage").event_fields()


def test_the_context_of_a_firework_is_in_its_spec_unless_the_message_has_one() -> None:
    job = launch(1)
    traced = job.model_copy(update={"firework": {"spec": {"_traceparent": HEADER}}})
    other = TraceContext("1" * 32, "2" * 16).header()
    assert held(traced).event_fields()["traceparent"] == HEADER
    assert held(traced, traceparent=other).event_fields()["traceparent"] == other
    for wrong in ({"spec": None}, {"spec": {"_traceparent": ["x"]}}, {}):
        assert "traceparent" not in held(job.model_copy(update={"firework": wrong})).event_fields()


@pytest.mark.parametrize("job", [RawJob(executable="true"), launch(1)])
def test_the_programs_of_a_job_get_the_span_of_its_run(job: LaunchJob | RawJob) -> None:
    begun = held(job, traceparent=HEADER)
    begun.begin(1, "/somewhere")
    context = parse(HEADER)
    assert context is not None
    run = context.job_span(begun.id).run_span(begun.id, begun.started)
    assert begun.traceparent == run.header()
    assert held(job).traceparent is None


def test_a_program_finds_its_span_in_its_environment() -> None:
    assert trace_context.of_environment({"TRACEPARENT": HEADER, "A": "1"}) == HEADER
    assert trace_context.of_environment({"TRACEPARENT": f"{HEADER} or so"}) is None
    assert trace_context.of_environment({}) is None
