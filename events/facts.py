"""What a timeline remembers of events: little, in no order, and nothing twice."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from events.types import EVENT_TYPES, JobEvent

#: Where types stand in a job's life: for events without `seq` that share a timestamp.
_ORDER = {
    event_type: place
    for place, event_type in enumerate(
        (
            "job.started",
            "job.stage-in.started",
            "job.stage-in.progress",
            "job.stage-in.finished",
            "job.execution.started",
            "job.image-pull.started",
            "job.image-pull.progress",
            "job.image-pull.finished",
            "job.execution.finished",
            "job.stage-out.started",
            "job.stage-out.progress",
            "job.stage-out.finished",
            "job.rejected",
            "job.released",
            "job.cancelled",
            "job.finished",
        )
    )
}
ENDS = frozenset({"job.finished", "job.released", "job.cancelled", "job.rejected"})
_VALUES = (
    "queued",
    "time",
    "bytes",
    "cached",
    "error",
    "executable",
    "metrics",
    "exit_code",
    "state",
    "phase",
    "reason",
    "output",
)


@dataclass(frozen=True, slots=True)
class Fact:
    """What counts of one job event."""

    event_id: str
    type: str
    executor: str
    seq: int | None
    timestamp: float
    thread: int | str | None
    name: str | None
    attempt: int | None
    #: Those of `_VALUES` that the event has.
    values: dict[str, Any]

    @property
    def phase(self) -> str:
        """``stage-in`` of ``job.stage-in.started``; of a type like ``job.started`` that word."""
        return self.type.split(".")[1]

    @property
    def age(self) -> tuple[float, str]:
        """Larger for the later of two facts of the same type."""
        return (self.timestamp if self.seq is None else self.seq, self.event_id)


def fact_of(event: JobEvent) -> Fact | None:
    """What counts of `event`; None of a type that tells nothing of a job's run."""
    if event.type not in _ORDER or event.type not in EVENT_TYPES:
        return None
    # Not by getattr: a model's own takes ten times as long for a field that is not there.
    fields = {**vars(event), **(event.model_extra or {})}
    return Fact(
        event_id=event.event_id,
        type=event.type,
        executor=event.executor,
        seq=event.seq,
        timestamp=event.timestamp,
        thread=event.thread,
        name=event.name,
        attempt=event.attempt,
        values={name: fields[name] for name in _VALUES if fields.get(name) not in (None, {}, [])},
    )


class JobFacts:
    """All facts of one job, from whichever executors. Not thread-safe."""

    __slots__ = ("_facts",)

    def __init__(self) -> None:
        self._facts: dict[object, Fact] = {}

    def add(self, fact: Fact) -> bool:
        """Take a fact; False when it is known."""
        key: object = fact.event_id
        if fact.type.endswith(".progress"):
            # Of a long transfer's progress the last word is enough.
            key = (fact.executor, fact.attempt, fact.type)
            known = self._facts.get(key)
            if known is not None and fact.age <= known.age:
                return False
        elif key in self._facts:
            return False
        self._facts[key] = fact
        return True

    def groups(self) -> list[list[Fact]]:
        """The facts by executor and attempt, each group in its order."""
        groups: dict[tuple[str, int | None], list[Fact]] = {}
        for fact in self._facts.values():
            groups.setdefault((fact.executor, fact.attempt), []).append(fact)
        return [_in_order(group) for _, group in sorted(groups.items(), key=_group_place)]


def _group_place(item: tuple[tuple[str, int | None], list[Fact]]) -> tuple[int, str]:
    (executor, attempt), _ = item
    return (-1 if attempt is None else attempt, executor)


def _in_order(facts: Iterable[Fact]) -> list[Fact]:
    facts = list(facts)
    numbered = all(fact.seq is not None for fact in facts)

    def place(fact: Fact) -> tuple[float, float, int, str]:
        first = float(fact.seq or 0) if numbered else fact.timestamp
        return (first, fact.timestamp, _ORDER[fact.type], fact.event_id)

    return sorted(facts, key=place)
