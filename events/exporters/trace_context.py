"""Where a job stands among traces: W3C trace context, and ids that follow from the job.

Everybody who sees the same events finds the same ids: several collectors agree, and a program that
a job runs can hang its own spans below the job's without asking anybody.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from messaging.wire import LaunchJob, RawJob

#: The attribute of a job's message, and the field of its events.
ATTRIBUTE = "traceparent"
#: The same in a Firework's spec.
SPEC_KEY = "_traceparent"
#: The environment variable that programs read.
VARIABLE = "TRACEPARENT"
_HEADER = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


@dataclass(frozen=True, slots=True)
class TraceContext:
    """A trace, and the span in it that others are below. Ids are hexadecimal digits."""

    trace_id: str
    #: None at the top of a trace of its own.
    span_id: str | None = None
    sampled: bool = True

    def header(self) -> str:
        """As a ``traceparent``; the context must have a span."""
        return f"00-{self.trace_id}-{self.span_id}-{int(self.sampled):02x}"

    def job_span(self, job: str) -> TraceContext:
        """The span of the whole job."""
        return self._below("job", job)

    def run_span(self, job: str, started: float) -> TraceContext:
        """The span of the run that took the job up at `started` (the time of its job.started)."""
        return self._below("run", job, repr(float(started)))

    def phase_span(self, run: str, number: int) -> TraceContext:
        """The span of a run's phase; `run` is the id of the run's span."""
        return self._below("phase", run, str(number))

    def _below(self, *names: str) -> TraceContext:
        span = _digest(self.trace_id, *names)[:16]
        return TraceContext(self.trace_id, span, self.sampled)


def parse(header: Any) -> TraceContext | None:
    """The context of a ``traceparent``; None of anything that is not one."""
    match = _HEADER.fullmatch(header) if isinstance(header, str) else None
    if match is None:
        return None
    version, trace_id, span_id, flags, more = match.groups()
    if version == "ff" or (version == "00" and more):
        return None
    if not int(trace_id, 16) or not int(span_id, 16):
        return None
    return TraceContext(trace_id, span_id, bool(int(flags, 16) & 1))


def incoming(attributes: Mapping[str, str], job: LaunchJob | RawJob) -> TraceContext | None:
    """What the sender of the job's message, or else the Firework's spec, says."""
    spec = job.firework.get("spec") if isinstance(job, LaunchJob) else None
    by_spec = spec.get(SPEC_KEY) if isinstance(spec, Mapping) else None
    return parse(attributes.get(ATTRIBUTE)) or parse(by_spec)


def of_environment(environ: Mapping[str, str]) -> str | None:
    """The header of the span in which this program runs, if it was told of one."""
    context = parse(environ.get(VARIABLE))
    return None if context is None else context.header()


def of_job(job: str, scope: str = "") -> TraceContext:
    """The trace of a job that nobody gave a context; `scope` tells installations apart."""
    return TraceContext(_digest("trace", scope, job)[:32])


def _digest(*names: str) -> str:
    return hashlib.sha256("\0".join(names).encode("utf-8", "replace")).hexdigest()
