"""From the facts of one job to its runs, one for each time that an executor took it up.

Pure: the same facts give the same runs, in whatever order they came. What no fact of the run itself
says, `events.losses` infers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from events.facts import ENDS, Fact, JobFacts
from events.job_run import JobRun, RunState, Span
from events.losses import LEASE_LOST, Surroundings, without_losses
from events.spans import closed, queued_span, spans_of

_T = TypeVar("_T")


def fold(job: str, facts: JobFacts, around: Surroundings) -> list[JobRun]:
    """The runs of one job."""
    runs: list[JobRun] = []
    for group in facts.groups():
        for number, segment in enumerate(_segments(group)):
            runs.append(_run(job, number, segment, around))
    return without_losses(runs, around)


def _segments(group: Sequence[Fact]) -> list[list[Fact]]:
    """The facts of each run: a start begins the next one. Late words belong to the run before."""
    segments: list[list[Fact]] = []
    for fact in group:
        if not segments or fact.type == "job.started":
            segments.append([])
        segments[-1].append(fact)
    return segments


def _run(job: str, number: int, facts: Sequence[Fact], around: Surroundings) -> JobRun:
    """The run that one segment tells of; running if it has no end."""
    first = facts[0]
    end = _last(facts, lambda fact: fact if fact.type in ENDS else None)
    spans = spans_of(facts)
    started = min([first.timestamp, *(span.start for span in spans)])
    if first.type == "job.started":
        started = first.timestamp
    ended = None
    if end is not None:
        spans = closed(spans, end.timestamp)
        ended = max([started, end.timestamp, *(span.end for span in spans)])
    state, phase, reason = _outcome(end, spans)
    queued = first.values.get("queued")
    return JobRun(
        key=f"{first.executor}/{job}/{first.attempt or 0}/{number}",
        id=job,
        name=_last(facts, lambda fact: fact.name),
        executor=first.executor,
        pool=around.pool(first.executor),
        thread=next((fact.thread for fact in reversed(facts) if fact.thread is not None), None),
        attempt=first.attempt,
        state=state,
        phase=phase,
        reason=reason,
        started=started,
        ended=ended,
        spans=spans if queued is None else (queued_span(started, queued), *spans),
        **_figures(facts, spans),
    )


def _outcome(end: Fact | None, spans: Sequence[Span]) -> tuple[RunState, str | None, str | None]:
    """State, phase and reason."""
    if end is None:
        return "running", spans[-1].phase if spans and spans[-1].open else None, None
    reason = end.values.get("reason")
    if end.type == "job.finished":
        return end.values["state"], end.values.get("phase"), reason
    if end.type == "job.cancelled":
        return "cancelled", None, reason
    if end.type == "job.rejected":
        return "rejected", None, reason
    return "lost" if str(reason).startswith(LEASE_LOST) else "released", None, reason


def _figures(facts: Sequence[Fact], spans: Sequence[Span]) -> dict[str, Any]:
    """The other fields of a `JobRun`."""
    stage_ins = [fact for fact in facts if fact.type == "job.stage-in.finished"]
    pulls = [fact for fact in facts if fact.type == "job.image-pull.finished"]
    ends = [fact for fact in facts if fact.type == "job.execution.finished"]
    return {
        "executable": _last(facts, lambda fact: fact.values.get("executable")),
        "exit_code": _last(ends, lambda fact: fact.values.get("exit_code")),
        "input_bytes": _sum(span.bytes for span in spans if span.phase == "stage-in"),
        "output_bytes": _sum(span.bytes for span in spans if span.phase == "stage-out"),
        "cached_bytes": _sum(fact.values.get("cached") for fact in stage_ins),
        "output": _last(facts, lambda fact: _text(fact.values.get("output"))),
        "metrics": _last(ends, lambda fact: fact.values.get("metrics")) or {},
        "image_pull": _sum(fact.values.get("time") for fact in pulls),
    }


def _text(output: Any) -> str | None:
    if isinstance(output, list | tuple):
        return "\n".join(str(line) for line in output)
    return None if output is None else str(output)


def _sum(values: Any) -> Any:
    """The sum of what is known; None when nothing is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _last(facts: Sequence[Fact], what: Callable[[Fact], _T | None]) -> _T | None:
    """The last that is known."""
    for fact in reversed(facts):
        value = what(fact)
        if value is not None:
            return value
    return None
