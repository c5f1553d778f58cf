"""The figures of a report: what was used, what each phase cost, how the tasks spread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from events.job_run import PHASES, SLOT_PHASES, JobRun, SpanPhase
from events.report.story import Story


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """How much of the slots' time was used."""

    #: Slots of all executors, and those that ran anything.
    slots: int
    used_slots: int
    #: Slot seconds in which a job ran, and all that there were while the executors lived.
    busy: float
    available: float

    @property
    def efficiency(self) -> float | None:
        """Busy over available, 0 to 1; None when nothing was available."""
        return min(1.0, self.busy / self.available) if self.available > 0 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one phase cost in all runs."""

    #: A phase, or ``other``: time of a slot in none of them.
    phase: str
    spans: int
    seconds: float
    #: Of the time in slots, 0 to 1; None of the time in the queue.
    share: float | None
    bytes: int | None

    @property
    def rate(self) -> float | None:
        """Bytes per second; None where nothing is known."""
        return self.bytes / self.seconds if self.bytes and self.seconds > 0 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How the seconds of one task name spread over its runs."""

    name: str
    values: Sequence[float]
    #: 5, 25, 50, 75 and 95 of 100 are below these.
    quantiles: tuple[float, float, float, float, float]

    @property
    def total(self) -> float:
        """Seconds of all runs."""
        return float(sum(self.values))


def use(story: Story) -> Use:
    """How much of the slots' time was used, within the story's time.

    An executor offers its slots from its first to its last event: each by its own clock.
    """
    seen: dict[str, int] = {}
    for executor, _ in story.slots:
        seen[executor] = seen.get(executor, 0) + 1
    available, slots = 0.0, 0
    for info in story.executors:
        count = max(info.threads or 0, seen.get(info.id, 0))
        slots += count
        available += count * max(0.0, info.last_seen - max(story.begin, info.first_seen))
    busy = sum(_busy_seconds(story).values())
    return Use(slots=slots, used_slots=len(story.slots), busy=busy, available=available)


def _busy_seconds(story: Story) -> dict[str, float]:
    """Seconds in which each slot ran a job: runs of lost ends may overlap others."""
    busy: dict[str, float] = {}
    reached: dict[str, float] = {}
    for run in story.runs:
        slot = story.slot_of(run)
        if slot is None:
            continue
        start = max(run.started, reached.get(slot, story.begin))
        end = story.end_of(run)
        busy[slot] = busy.get(slot, 0.0) + max(0.0, end - start)
        reached[slot] = max(end, start)
    return busy


def costs(story: Story) -> list[Cost]:
    """What each phase cost, and what slots spent on jobs in none of them."""
    in_slots = sum(story.end_of(run) - run.started for run in story.runs)
    found = []
    for phase in PHASES:
        spans = [span for run in story.runs for span in run.spans if span.phase == phase]
        known = [span.bytes for span in spans if span.bytes is not None]
        seconds = sum(span.seconds for span in spans)
        share = seconds / in_slots if in_slots > 0 and phase in SLOT_PHASES else None
        found.append(
            Cost(
                phase=phase,
                spans=len(spans),
                seconds=seconds,
                share=share,
                bytes=sum(known) if known else None,
            )
        )
    other = max(0.0, in_slots - sum(cost.seconds for cost in found if cost.phase != "queued"))
    share = other / in_slots if in_slots > 0 else None
    found.append(Cost(phase="other", spans=len(story.runs), seconds=other, share=share, bytes=None))
    return found


def in_phase(phase: SpanPhase) -> Callable[[JobRun], float | None]:
    """What gives a run's seconds in `phase`."""
    return lambda run: run.seconds(phase)


def spreads(
    runs: Sequence[JobRun], seconds: Callable[[JobRun], float | None], most: int = 40
) -> list[Spread]:
    """How `seconds` of ended runs spread, by task name: the `most` costly names, those first."""
    by_name: dict[str, list[float]] = {}
    for run in runs:
        value = seconds(run)
        if run.ended is not None and value is not None:
            by_name.setdefault(run.name or "(no name)", []).append(value)
    found = [
        Spread(name=name, values=values, quantiles=_quantiles(values))
        for name, values in by_name.items()
    ]
    return sorted(found, key=lambda spread: (-spread.total, spread.name))[:most]


def _quantiles(values: Sequence[float]) -> tuple[float, float, float, float, float]:
    low, lower, middle, upper, high = np.quantile(values, (0.05, 0.25, 0.5, 0.75, 0.95))
    return float(low), float(lower), float(middle), float(upper), float(high)
