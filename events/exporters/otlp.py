"""Traces for OpenTelemetry: a job is a trace, its runs and their phases are spans.

    job align                        from the beginning of its queue to its end
    ├─ queued
    ├─ run                           one for each executor that took it up
    │  ├─ stage-in
    │  ├─ execution
    │  └─ stage-out
    └─ …

The spans are made from events, after the fact: nothing on an executor needs OpenTelemetry, and no
job waits for it. Ids follow from the job's (`trace_context`). A job whose message brought a
``traceparent`` is a part of its sender's trace.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from importlib.metadata import version
from typing import TypeVar
from urllib.parse import urlsplit

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.status import Status, StatusCode

from events.exporters.contract import Exporter
from events.exporters.span_sender import CountingSender
from events.exporters.trace_context import TraceContext, of_job, parse
from events.job_run import JobRun, Span
from events.types import Event, JobEvent
from messaging.errors import UsageError

#: Spans that wait while the collector is away; beyond, the oldest are lost, with a warning.
MAX_QUEUE = 50_000
#: Jobs whose context and first start are remembered.
_REMEMBERED = 100_000
#: The largest integer, about, that OTLP has; in nanoseconds, the year 2255.
_MOST = 9 * 10**18
_DELAY_MILLISECONDS = 1000.0
#: After which nothing more of a job is expected.
_FINAL = frozenset({"COMPLETED", "FIZZLED", "FAILED", "cancelled", "rejected"})
_ERRORS = frozenset({"FIZZLED", "FAILED", "rejected", "lost"})

_T = TypeVar("_T")


class OtlpExporter(Exporter):
    """Sends spans to an OTLP collector over HTTP, from a thread of its own."""

    def __init__(self, url: str, scope: str = "") -> None:
        """`url` is the collector's, as ``http://localhost:4318``, or the full one of its traces.

        `scope` tells the jobs of one installation from another's. OpenTelemetry's own environment
        variables (``OTEL_EXPORTER_OTLP_HEADERS``, ``OTEL_SERVICE_NAME``…) hold. Raises UsageError.
        """
        self.where = traces_url(url)
        self._scope = scope
        self._contexts: OrderedDict[str, TraceContext] = OrderedDict()
        self._starts: OrderedDict[str, float] = OrderedDict()
        self._resource = Resource({SERVICE_NAME: "portfire"}).merge(OTELResourceDetector().detect())
        self._library = InstrumentationScope("portfire", version("portfire"))
        self._processor = BatchSpanProcessor(
            CountingSender(OTLPSpanExporter(endpoint=self.where), self.where),
            max_queue_size=MAX_QUEUE,
            schedule_delay_millis=_DELAY_MILLISECONDS,
        )
        self._closed = False

    def event(self, event: Event) -> None:
        """See Exporter."""
        context = parse(event.traceparent) if isinstance(event, JobEvent) else None
        if context is not None and event.job:
            _remember(self._contexts, event.job, context)

    def ended(self, run: JobRun) -> None:
        """See Exporter."""
        context = self._contexts.get(run.id) or of_job(run.id, self._scope)
        start = min([run.started, *(span.start for span in run.spans)])
        start = min(start, self._starts.get(run.id, start))
        _remember(self._starts, run.id, start)
        if not context.sampled:
            return
        job = context.job_span(run.id)
        self._run(run, job)
        if run.state in _FINAL:
            end = run.started if run.ended is None else run.ended
            parent = context if context.span_id else None
            self._send(
                f"job {run.name or ''}".strip(), job, parent, start, end, run, SpanKind.CONSUMER
            )
            self._starts.pop(run.id, None)

    def flush(self) -> None:
        """See Exporter: spans go out by themselves."""

    def close(self) -> None:
        """See Exporter."""
        if not self._closed:
            self._closed = True
            self._processor.shutdown()  # type: ignore[no-untyped-call]

    def _run(self, run: JobRun, job: TraceContext) -> None:
        own = job.run_span(run.id, run.started)
        end = run.started if run.ended is None else run.ended
        self._send("run", own, job, run.started, end, run)
        for number, span in enumerate(run.spans):
            context = own.phase_span(str(own.span_id), number)
            # The queue is before the run: it is no part of it.
            parent = job if span.phase == "queued" else own
            self._processor.on_end(self._phase(span, context, parent))

    def _send(
        self,
        name: str,
        context: TraceContext,
        parent: TraceContext | None,
        start: float,
        end: float,
        run: JobRun,
        kind: SpanKind = SpanKind.INTERNAL,
    ) -> None:
        span = ReadableSpan(
            name,
            context=_span_context(context),
            parent=_span_context(parent, remote=True) if parent else None,
            resource=self._resource,
            attributes=_attributes(run),
            kind=kind,
            status=_status(run),
            start_time=_nanoseconds(start),
            end_time=_nanoseconds(end),
            instrumentation_scope=self._library,
        )
        self._processor.on_end(span)

    def _phase(self, span: Span, context: TraceContext, parent: TraceContext) -> ReadableSpan:
        status = Status(StatusCode.ERROR, span.error) if span.error else Status()
        return ReadableSpan(
            span.phase,
            context=_span_context(context),
            parent=_span_context(parent),
            resource=self._resource,
            attributes={} if span.bytes is None else {"portfire.bytes": _fitting(span.bytes)},
            status=status,
            start_time=_nanoseconds(span.start),
            end_time=_nanoseconds(span.end),
            instrumentation_scope=self._library,
        )


def traces_url(url: str) -> str:
    """Where traces go; a URL without a path gets OTLP's own. Raises UsageError."""
    try:
        parts = urlsplit(url)
        wrong = parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0
    except ValueError:
        wrong = True
    if wrong:
        raise UsageError(
            f"--otlp is {url!r}: expected the URL of a collector, such as http://localhost:4318"
        )
    if parts.path in {"", "/"}:
        parts = parts._replace(path="/v1/traces")
    return parts.geturl()


def _span_context(context: TraceContext, remote: bool = False) -> SpanContext:
    flags = TraceFlags(TraceFlags.SAMPLED if context.sampled else TraceFlags.DEFAULT)
    return SpanContext(int(context.trace_id, 16), int(context.span_id or "0", 16), remote, flags)


def _attributes(run: JobRun) -> Mapping[str, str | int | float]:
    told = {
        "portfire.job.id": run.id,
        "portfire.job.name": run.name,
        "portfire.job.attempt": run.attempt,
        "portfire.job.state": run.state,
        "portfire.job.phase": run.phase,
        "portfire.job.reason": run.reason,
        "portfire.pool": run.pool,
        "portfire.executor": run.executor,
        "portfire.slot": None if run.thread is None else str(run.thread),
        "portfire.executable": run.executable,
        "portfire.bytes.in": run.input_bytes,
        "portfire.bytes.out": run.output_bytes,
        "process.exit.code": run.exit_code,
    }
    return {name: _fitting(value) for name, value in told.items() if value is not None}


def _fitting(value: str | int) -> str | int:
    """OTLP's integers have 64 bits; one value that does not fit would cost its whole batch."""
    return value if isinstance(value, str) or abs(value) <= _MOST else str(value)


def _status(run: JobRun) -> Status:
    if run.state in _ERRORS:
        return Status(StatusCode.ERROR, run.reason or run.state)
    return Status(StatusCode.OK if run.state == "COMPLETED" else StatusCode.UNSET)


def _nanoseconds(seconds: float) -> int:
    return round(min(max(0.0, seconds), _MOST / 1e9) * 1e9)


def _remember(what: OrderedDict[str, _T], job: str, value: _T) -> None:
    what[job] = value
    what.move_to_end(job)
    if len(what) > _REMEMBERED:
        what.popitem(last=False)
