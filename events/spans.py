"""From the facts of one run to its phases in time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from events.facts import Fact
from events.job_run import SLOT_PHASES, Span, SpanPhase


def queued_span(started: float, seconds: float) -> Span:
    """The time that the job's message waited before a slot took it up."""
    seconds = max(0.0, seconds)
    return Span(phase="queued", start=started - seconds, seconds=seconds)


def spans_of(facts: Sequence[Fact]) -> tuple[Span, ...]:
    """The phases that these facts of one run, in their order, tell of; open ones are `Span.open`.

    Each phase takes the seconds that its end says (measured by a clock that never jumps), else the
    difference of the timestamps. Where an end is missing, the next phase's beginning is the end.
    """
    phases = _Phases()
    for fact in facts:
        phase = next((phase for phase in SLOT_PHASES if phase == fact.phase), None)
        if phase is not None:
            phases.see(phase, fact)
    return phases.spans(until=facts[-1].timestamp)


def closed(spans: Sequence[Span], at: float) -> tuple[Span, ...]:
    """The same without open ones: those end `at` this time, or where they are if that is later."""
    return tuple(
        replace(span, open=False, seconds=max(span.seconds, at - span.start)) if span.open else span
        for span in spans
    )


class _Phases:
    """Pairs the beginnings of phases with their ends."""

    def __init__(self) -> None:
        self._done: list[Span] = []
        self._open: Span | None = None

    def see(self, phase: SpanPhase, fact: Fact) -> None:
        spent = fact.values.get("time")
        if fact.type.endswith(".started"):
            self._close(fact.timestamp)
            self._open = Span(phase=phase, start=fact.timestamp, seconds=0.0, open=True)
            return
        span = self._open
        if span is None or span.phase != phase:
            start = fact.timestamp - max(0.0, spent or 0.0)
            self._close(start)
            span = Span(phase=phase, start=start, seconds=0.0, open=True)
        if spent is None:
            spent = fact.timestamp - span.start
        over = fact.type.endswith(".finished")
        self._open = replace(
            span,
            seconds=max(0.0, spent),
            open=not over,
            bytes=fact.values.get("bytes"),
            error=fact.values.get("error"),
        )
        if over:
            self._close(fact.timestamp)

    def spans(self, until: float) -> tuple[Span, ...]:
        """All, in the order of their starts; the open one known of `until` this time at least."""
        found = list(self._done)
        if self._open is not None:
            seconds = max(self._open.seconds, until - self._open.start)
            found.append(replace(self._open, seconds=seconds))
        return tuple(sorted(found, key=lambda span: span.start))

    def _close(self, at: float) -> None:
        if self._open is not None:
            self._done += closed([self._open], at)
            self._open = None
