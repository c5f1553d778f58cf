"""Traces, as a collector gets them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from events.exporters.collection import Collection
from events.exporters.otlp import OtlpExporter, traces_url
from events.exporters.trace_context import TraceContext
from events.types import Event
from messaging.errors import UsageError
from tests.events.exporters.receiving import Collector, collector
from tests.events.timelines import T0, Story, executor_event
from tests.waiting import wait_until

PARENT = TraceContext("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")


@pytest.fixture
def otel() -> Iterator[Collector]:
    with collector() as found:
        yield found


def export(collector: Collector, events: Iterable[Event], scope: str = "") -> None:
    exporter = OtlpExporter(collector.url, scope)
    collection = Collection([exporter])
    collection.take([executor_event("executor.ready", 0, pool="gpu", threads=4)])
    collection.take(events)
    collection.finish()
    exporter.close()


def test_a_job_is_a_trace_and_its_phases_are_spans(otel: Collector) -> None:
    export(otel, Story().run())
    job, run = otel.named("job align"), otel.named("run")
    assert len({span.trace_id for span in otel.spans}) == 1
    assert len({span.span_id for span in otel.spans}) == len(otel.spans) == 6
    assert (job.parent_span_id, run.parent_span_id) == (b"", job.span_id)
    assert otel.named("queued").parent_span_id == job.span_id
    times = {
        span.name: (span.start_time_unix_nano / 1e9 - T0, span.end_time_unix_nano / 1e9 - T0)
        for span in otel.spans
    }
    assert times == {
        "job align": (-3, 10),
        "queued": (-3, 0),
        "run": (0, 10),
        "stage-in": (0, 1),
        "execution": (1, 8),
        "stage-out": (8, 10),
    }
    for phase in ("stage-in", "execution", "stage-out"):
        assert otel.named(phase).parent_span_id == run.span_id
    assert run.status.code == Status.STATUS_CODE_OK
    told = {item.key: item.value for item in run.attributes}
    assert told["portfire.pool"].string_value == "gpu"
    assert told["portfire.bytes.in"].int_value == 1000
    assert otel.paths == ["/v1/traces"]
    assert otel.resources[0]["service.name"] == "portfire"


def test_a_failure_is_an_error_with_its_reason(otel: Collector) -> None:
    export(otel, Story().run(state="FIZZLED", phase="execution", reason="no reads"))
    for name in ("job align", "run"):
        status = otel.named(name).status
        assert (status.code, status.message) == (Status.STATUS_CODE_ERROR, "no reads")


def test_a_job_that_ran_twice_is_one_trace_with_two_runs(otel: Collector) -> None:
    first, second = Story(executor="a"), Story(executor="b")
    given_back = [*list(first.run(state=None))[:3], first.tell("released", 2.0, reason="preempted")]
    export(otel, [*given_back, *second.run(20)])
    runs = [span for span in otel.spans if span.name == "run"]
    assert len({run.span_id for run in runs}) == 2
    assert {run.parent_span_id for run in runs} == {otel.named("job align").span_id}
    assert otel.named("job align").start_time_unix_nano == int((T0 - 3) * 1e9)
    assert otel.named("job align").end_time_unix_nano == int((T0 + 30) * 1e9)


def test_collectors_agree_on_ids_and_installations_do_not_mix(otel: Collector) -> None:
    events = list(Story().run())
    export(otel, events)
    export(otel, events)
    assert len({span.span_id for span in otel.spans}) == len(otel.spans) / 2
    export(otel, events, scope="elsewhere")
    assert len({span.trace_id for span in otel.spans}) == 2


def test_a_job_is_below_the_span_that_its_sender_named(otel: Collector) -> None:
    export(otel, Story(traceparent=PARENT.header()).run())
    job = otel.named("job align")
    assert (job.trace_id.hex(), job.parent_span_id.hex()) == (PARENT.trace_id, PARENT.span_id)
    # What a program of this run gets as TRACEPARENT.
    assert otel.named("run").span_id.hex() == PARENT.job_span("1").run_span("1", T0).span_id


def test_a_sender_that_does_not_sample_gets_no_spans(otel: Collector) -> None:
    unwanted = TraceContext(PARENT.trace_id, PARENT.span_id, sampled=False)
    export(otel, [*Story(traceparent=unwanted.header()).run(), *Story("2", traceparent=7).run(20)])
    assert {span.trace_id.hex() for span in otel.spans} & {PARENT.trace_id} == set()
    assert otel.named("run").status.code == Status.STATUS_CODE_OK


def test_absurd_values_cost_no_other_job_its_spans(otel: Collector) -> None:
    absurd = Story("2", executor="b", name="absurd \u2028", traceparent="00-zz")
    times = {"at": 200_000_000_000, "time": 1e308}
    export(
        otel,
        [
            absurd.tell("started", 1.0, queued=1e300),
            absurd.tell("stage-in.finished", **times, bytes=10**30),
            absurd.tell("execution.finished", **times, exit_code=-(10**30)),
            absurd.tell("finished", times["at"], state="COMPLETED"),
            *Story().run(20),
        ],
    )
    assert otel.named("job align").status.code == Status.STATUS_CODE_OK
    assert len([span for span in otel.spans if span.name == "run"]) == 2


def test_a_collector_that_refuses_is_said_once_with_the_loss(
    otel: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    otel.status = 401
    exporter = OtlpExporter(otel.url)
    collection = Collection([exporter], settle=0.0)
    collection.take([executor_event("executor.ready", 0, pool="gpu")])
    with caplog.at_level(logging.WARNING):
        collection.take(Story("1").run())
        wait_until(lambda: "are being lost" in caplog.text, what="the warning")
        otel.status = 200
        collection.take(Story("2").run(20))
        wait_until(lambda: "6 spans were lost" in caplog.text, what="the end of the outage")
        exporter.close()
    assert len(otel.spans) == 6
    assert len(caplog.records) == 3


def test_a_url_gets_the_path_of_traces_unless_it_has_one() -> None:
    assert traces_url("http://host:4318") == "http://host:4318/v1/traces"
    assert traces_url("https://host/") == "https://host/v1/traces"
    assert traces_url("http://host/otlp/v1/traces?a=b") == "http://host/otlp/v1/traces?a=b"
    for wrong in ("localhost:4318", "grpc://host", "http://", "http://[", "http://host:99999"):
        with pytest.raises(UsageError, match="--otlp is "):
            traces_url(wrong)
