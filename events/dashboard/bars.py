"""The timeline's bars as columns: those of ended runs, sent once, and those that still grow.

A run gives a bar for each of its phases, and a thin one beneath for the time that no phase tells
of (a slot's own work, an image that is pulled, tasks without phases).
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from events.dashboard.slots import SlotRows
from events.job_run import Changes, JobRun

#: Codes in the column `phase`, which the page turns into colours in this order.
PHASE_CODES = {"stage-in": 0, "execution": 1, "stage-out": 2}
OTHER_CODE = 3
#: A run whose phases leave less than this share of it open needs no bar beneath.
_COVERED = 0.98
_HEIGHT = 0.8
_THIN_HEIGHT = 0.25
#: Frames drawn; of more failures the last.
_MAX_MARKS = 1_000

Columns = dict[str, Any]


class Bar(NamedTuple):
    """One rectangle. Times in milliseconds since the epoch, as Bokeh's time axes have them."""

    key: str
    name: str
    row: int
    left: float
    right: float
    height: float
    phase: int


class Mark(NamedTuple):
    """A frame around a run that failed or was lost; times as of `Bar`."""

    name: str
    row: int
    left: float
    right: float
    lost: bool


class Delta(NamedTuple):
    """What a browser lacks."""

    #: To be appended.
    bars: list[Bar]
    #: Positions of bars that it has and that no longer hold: a late event changed their run, or it
    #: was forgotten. They count before the append.
    stale: list[int]
    #: All frames there are, when they changed; else None.
    marks: list[Mark] | None


class Bars:
    """From a timeline's changes to what a browser lacks. One for each browser; not thread-safe."""

    def __init__(self, rows: SlotRows, keep: int) -> None:
        """The browser keeps the last `keep` bars of ended runs."""
        self.rows = rows
        self._keep = keep
        self._running: dict[str, JobRun] = {}
        self._marks: OrderedDict[str, Mark] = OrderedDict()
        #: What the browser has: the run of each bar, how many were dropped before the first, and
        #: the bars of each run, counted from the first that was ever sent.
        self._sent: deque[str] = deque()
        self._dropped = 0
        self._places: dict[str, list[int]] = {}

    def take(self, changes: Changes) -> Delta:
        """The browser's way from the version that `changes` start from to theirs."""
        for executor in changes.executors:
            self.rows.add_executor(executor)
        bars: list[Bar] = []
        stale: list[int] = []
        marked = False
        for key in changes.removed:
            self._running.pop(key, None)
            stale += self._places.pop(key, [])
            marked |= self._marks.pop(key, None) is not None
        for run in changes.runs:
            if run.running:
                self._running[run.key] = run
                continue
            self._running.pop(run.key, None)
            stale += self._places.pop(run.key, [])
            bars.extend(self._bars(run, run.ended or run.started))
            marked |= self._mark(run)
        positions = [place - self._dropped for place in stale if place >= self._dropped]
        for bar in bars:
            self._note(bar.key)
        return Delta(bars[-self._keep :], positions, list(self._marks.values()) if marked else None)

    def growing(self, present: float) -> list[Bar]:
        """The bars of all running runs, drawn up to `present` (seconds since the epoch)."""
        return [bar for run in self._running.values() for bar in self._bars(run, present)]

    def key_at(self, position: int) -> str | None:
        """The run whose bar the browser has at this position."""
        return self._sent[position] if 0 <= position < len(self._sent) else None

    def _note(self, key: str) -> None:
        self._places.setdefault(key, []).append(self._dropped + len(self._sent))
        self._sent.append(key)
        if len(self._sent) > self._keep:
            oldest = self._sent.popleft()
            places = self._places.get(oldest)
            if places and places[0] == self._dropped:
                places.pop(0)
                if not places:
                    del self._places[oldest]
            self._dropped += 1

    def _bars(self, run: JobRun, until: float) -> Iterator[Bar]:
        row = self.rows.row(run.executor, run.thread)
        name = run.name or run.id
        until = max(until, run.started)
        spans = [span for span in run.spans if span.phase in PHASE_CODES]
        ends = [max(span.end, until) if span.open else span.end for span in spans]
        covered = sum(end - span.start for span, end in zip(spans, ends, strict=True))
        if not spans or covered < _COVERED * (until - run.started):
            left, right = run.started * 1e3, until * 1e3
            yield Bar(run.key, name, row, left, right, _THIN_HEIGHT, OTHER_CODE)
        for span, end in zip(spans, ends, strict=True):
            code = PHASE_CODES[span.phase]
            yield Bar(run.key, name, row, span.start * 1e3, end * 1e3, _HEIGHT, code)

    def _mark(self, run: JobRun) -> bool:
        """Frame the run, or frame it no more; whether that changed anything."""
        lost = run.state == "lost"
        if not (run.failed or lost):
            return self._marks.pop(run.key, None) is not None
        row = self.rows.row(run.executor, run.thread)
        end = run.ended or run.started
        name = run.name or run.id
        self._marks[run.key] = Mark(name, row, run.started * 1e3, end * 1e3, lost)
        if len(self._marks) > _MAX_MARKS:
            self._marks.popitem(last=False)
        return True


def bar_columns(bars: Sequence[Bar]) -> Columns:
    """Columns for a data source; numbers as arrays, which travel as they are in memory."""
    rows = _numbers([bar.row for bar in bars])
    half = _numbers([bar.height for bar in bars]) / 2
    return {
        "left": _numbers([bar.left for bar in bars]),
        "right": _numbers([bar.right for bar in bars]),
        "top": rows - half,
        "bottom": rows + half,
        "phase": _numbers([bar.phase for bar in bars]),
        "name": [bar.name for bar in bars],
    }


def mark_columns(marks: Sequence[Mark]) -> Columns:
    """Columns for frames."""
    rows = _numbers([mark.row for mark in marks])
    return {
        "left": _numbers([mark.left for mark in marks]),
        "right": _numbers([mark.right for mark in marks]),
        "top": rows - _HEIGHT / 2,
        "bottom": rows + _HEIGHT / 2,
        "name": [mark.name for mark in marks],
    }


def _numbers(values: Sequence[float]) -> NDArray[np.float64]:
    return np.array(values, dtype=np.float64)
