"""The timeline as a picture for a paper, by matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from events.job_run import JobRun
from events.report.colours import HATCHES, OTHER, PHASE_COLOURS
from events.report.story import Story

_WIDTH_INCHES = 7.0
_SLOT_INCHES = 0.16
_MOST_INCHES = 9.0
_DOTS_PER_INCH = 300
_BAR_HEIGHT = 0.8


def save_picture(story: Story, path: Path) -> None:
    """Write the timeline, seconds since the story's beginning, in the format of `path`'s ending.

    Raises OSError when it cannot be written, ValueError for an ending that matplotlib has not.
    """
    rows = len(story.slots)
    height = min(_MOST_INCHES, 1.4 + _SLOT_INCHES * rows)
    # Not by pyplot, which wants a display.
    figure = Figure(figsize=(_WIDTH_INCHES, height), layout="constrained")
    axes = figure.add_subplot()
    for run in story.runs:
        slot = story.slot_of(run)
        if slot is not None:
            _draw(axes, story, run, story.rows[slot] - _BAR_HEIGHT / 2)
    labels = story.labels()
    axes.set_yticks([float(row) for row in labels], labels=list(labels.values()), fontsize=6)
    axes.set_ylim(rows - 0.4, -0.6)
    axes.set_xlim(0, max(story.end - story.begin, 1e-3))
    axes.set_xlabel("seconds")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(handles=_legend(story), loc="outside upper center", ncols=6, fontsize=7)
    figure.savefig(path, dpi=_DOTS_PER_INCH)


def _draw(axes: Any, story: Story, run: JobRun, bottom: float) -> None:
    """One run: its bar, its phases upon it, and hatching where it did not end well."""
    row = (bottom, _BAR_HEIGHT)
    whole = [(run.started - story.begin, story.end_of(run) - run.started)]
    axes.broken_barh(whole, row, facecolor=OTHER, linewidth=0)
    for phase, colour in PHASE_COLOURS.items():
        spans = [span for span in run.spans if span.phase == phase]
        ends = [max(span.end, story.end) if span.open else span.end for span in spans]
        bars = [
            (span.start - story.begin, end - span.start)
            for span, end in zip(spans, ends, strict=True)
        ]
        axes.broken_barh(bars, row, facecolor=colour, linewidth=0)
    style = HATCHES.get(_kind(run))
    if style is not None:
        axes.broken_barh(whole, row, facecolor="none", linewidth=0.8, **style)


def _kind(run: JobRun) -> str:
    return "failed" if run.failed else run.state


def _legend(story: Story) -> list[Patch]:
    used = {_kind(run) for run in story.runs}
    patches = [Patch(facecolor=colour, label=phase) for phase, colour in PHASE_COLOURS.items()]
    hatched = [kind for kind in HATCHES if kind in used]
    return patches + [Patch(facecolor="none", label=kind, **HATCHES[kind]) for kind in hatched]
