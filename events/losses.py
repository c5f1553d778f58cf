"""Runs that nobody ended: what became of them, and where their bars end.

A run ends by its own last event. One that has none and never will have is *lost*:

======================================  ============================================
what says so                            where it ends
======================================  ============================================
its executor took the job up again      its own last event
its slot took up another job            its own last event
the job was taken up elsewhere          where its executor was last heard of before
its executor stopped                    there
its executor fell silent                where it was last heard of
the dispatcher ended the job            where its executor was last heard of before
======================================  ============================================

Never before its own last event. Times are those of each executor's own clock; between executors
they decide nothing but which of two runs of the same attempt came first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from events.job_run import JobRun
from events.spans import closed

#: What stands for an executor where the dispatcher ended a job.
DISPATCHER = "dispatcher"
#: How an executor's reason begins when it gave up a job because its lease had ended.
LEASE_LOST = "lease lost"
#: Ends that the dispatcher's word replaces: it alone knows what the LaunchPad took.
_FINAL = frozenset({"COMPLETED", "FIZZLED", "FAILED"})


class Surroundings(Protocol):
    """What must be known beside the job's own facts."""

    def pool(self, executor: str) -> str | None:
        """The executor's pool, if known."""

    def gone(self, executor: str, since: float) -> tuple[float, str] | None:
        """When and how an executor went that worked at `since`; None if it did not."""

    def last_seen(self, executor: str) -> float:
        """The time of its last event, by its own clock."""

    def moved_on(self, executor: str, thread: int | str | None, since: float) -> bool:
        """Whether this slot took up another job after the one of `since`."""


def without_losses(runs: Sequence[JobRun], around: Surroundings) -> list[JobRun]:
    """The runs of one job, each with the end that it has or must have had."""
    verdicts = [run for run in runs if run.executor == DISPATCHER]
    others = [run for run in runs if run.executor != DISPATCHER]
    found = [_ended(run, others, verdicts, around) if run.running else run for run in others]
    return _judged(found, verdicts)


def _ended(
    run: JobRun, others: Sequence[JobRun], verdicts: Sequence[JobRun], around: Surroundings
) -> JobRun:
    """The run, lost if it must be."""
    heard = around.last_seen(run.executor)
    if run.thread is not None and around.moved_on(run.executor, run.thread, run.started):
        return _lost(run, 0.0, "nobody told its end: its slot took up another job")
    later = [other for other in others if _place(other) > _place(run)]
    if later:
        successor = min(later, key=_place)
        if successor.executor == run.executor:
            return _lost(run, 0.0, "nobody told its end: its executor took the job up again")
        at = min(heard, successor.started)
        return _lost(run, at, f"its lease ended: executor {successor.executor} took the job up")
    gone = around.gone(run.executor, run.started)
    if gone is not None:
        return _lost(run, *gone)
    if verdicts:
        last = max(verdicts, key=_place)
        return _lost(run, min(heard, last.started), last.reason or "the dispatcher ended the job")
    return run


def _lost(run: JobRun, at: float, reason: str) -> JobRun:
    """The run, lost `at` this time or at its own last event, whichever is later."""
    spans = closed(run.spans, at)
    return replace(
        run,
        state="lost",
        reason=reason,
        spans=spans,
        ended=max([run.started, at, *(span.end for span in spans)]),
    )


def _judged(runs: Sequence[JobRun], verdicts: Sequence[JobRun]) -> list[JobRun]:
    """The runs with the dispatcher's last word on the job."""
    if not verdicts:
        return list(runs)
    verdict = max(verdicts, key=_place)
    last = max(runs, key=_place, default=None)
    if last is None or last.state not in _FINAL:
        # Nobody ran it to an end: the failure stands for itself, in no slot.
        return [*runs, verdict]
    judged = replace(last, state=verdict.state, phase=verdict.phase, reason=verdict.reason)
    return [judged if run is last else run for run in runs]


def _place(run: JobRun) -> tuple[int, float, str]:
    return (run.attempt or 0, run.started, run.key)
