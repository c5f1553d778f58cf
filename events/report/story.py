"""What a report tells of: all runs of a recording, and where they ran."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from events.job_run import ExecutorInfo, JobRun
from events.timeline import Timeline
from events.types import Event

#: More at an axis would be written over each other.
_MOST_LABELS = 50

Place = tuple[str, int | str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """All that a report shows. Times are seconds since the epoch, UTC."""

    #: In the order of their starts.
    runs: tuple[JobRun, ...]
    executors: tuple[ExecutorInfo, ...]
    #: The slots that ran something, by executor and number: each with its name for people.
    slots: Mapping[Place, str]
    #: The row of each slot in a chart, by its name, from 0.
    rows: Mapping[str, int]
    #: The first and the last moment of any run or executor.
    begin: float
    end: float

    @property
    def failures(self) -> tuple[JobRun, ...]:
        """The runs of jobs that went wrong."""
        return tuple(run for run in self.runs if run.failed)

    def slot_of(self, run: JobRun) -> str | None:
        """The name of the slot that ran it; None of a job that no slot took up."""
        place = _place(run)
        return None if place is None else self.slots[place]

    def labels(self) -> dict[int, str]:
        """The names of slots by their rows; of many slots those of some, evenly."""
        step = max(1, -(-len(self.rows) // _MOST_LABELS))
        return {row: slot for slot, row in self.rows.items() if row % step == 0}

    def end_of(self, run: JobRun) -> float:
        """Its end, or that of the recording."""
        return max(run.started, self.end) if run.ended is None else run.ended


def gather(events: Iterable[Event], since: float | None = None) -> Story:
    """The story of these events: of what went on in the last `since` seconds, or all of it."""
    timeline = Timeline(keep=sys.maxsize)
    last = 0.0
    for event in events:
        timeline.add(event)
        last = max(last, event.timestamp)
    timeline.tick(last)
    earliest = 0.0 if since is None else last - since
    runs = tuple(run for run in timeline.runs() if run.ended is None or run.ended >= earliest)
    executors = tuple(info for info in timeline.executors() if info.last_seen >= earliest)
    begins = [*(run.started for run in runs), *(info.first_seen for info in executors)]
    begin = max(earliest, min(begins, default=0.0))
    ends = [*(run.ended or 0.0 for run in runs), *(info.last_seen for info in executors)]
    slots = _slots(runs, executors)
    return Story(
        runs=runs,
        executors=executors,
        slots=slots,
        rows={slot: row for row, slot in enumerate(slots.values())},
        begin=begin,
        end=max([begin, *ends]),
    )


def _place(run: JobRun) -> Place | None:
    return None if run.thread is None else (run.executor, run.thread)


def _slots(runs: Iterable[JobRun], executors: Iterable[ExecutorInfo]) -> dict[Place, str]:
    order = {info.id: number for number, info in enumerate(executors)}
    hosts = {info.id: info.host for info in executors}
    places = {place for run in runs if (place := _place(run)) is not None}
    names = _executor_names({executor for executor, _ in places}, hosts)

    def rank(place: Place) -> tuple[int, str, int, str]:
        executor, thread = place
        number = thread if isinstance(thread, int) else sys.maxsize
        return (order.get(executor, sys.maxsize), executor, number, str(thread))

    return {place: f"{names[place[0]]} / {place[1]}" for place in sorted(places, key=rank)}


def _executor_names(executors: Iterable[str], hosts: Mapping[str, str | None]) -> dict[str, str]:
    """The hosts' names, with as much of the executor's id as tells it from others there."""
    executors = sorted(executors)
    found = {}
    for executor in executors:
        host = hosts.get(executor)
        shared = [other for other in executors if other != executor and hosts.get(other) == host]
        if host and not shared:
            found[executor] = host
        else:
            found[executor] = " ".join(filter(None, [host, _short(executor, shared)]))
    return found


def _short(executor: str, others: Iterable[str]) -> str:
    length = 8
    while any(other.startswith(executor[:length]) for other in others) and length < len(executor):
        length += 4
    return executor[:length]
