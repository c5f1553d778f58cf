"""The report's timeline, by Bokeh: what ran in which slot when."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from bokeh.models import ColumnDataSource, CrosshairTool, FixedTicker, HoverTool, Range1d
from bokeh.plotting import figure

from events.dashboard.units import duration, size
from events.job_run import JobRun, RunState
from events.report.colours import FAILED, LOST, OTHER, PHASE_COLOURS
from events.report.story import Story

_SLOT_PIXELS = 14
_MOST_PIXELS = 860
_MILLISECONDS = 1000.0
#: Of all charts.
TOOLS = "xwheel_zoom,xpan,box_zoom,reset,save"
_STOPPED: frozenset[RunState] = frozenset({"lost", "released", "cancelled"})


def timeline(story: Story) -> figure:
    """A row for each slot, a bar for each phase; failed and lost runs are hatched."""
    plot = figure(
        name="timeline",
        x_axis_type="datetime",
        x_range=Range1d(
            start=story.begin * _MILLISECONDS,
            end=max(story.end, story.begin + 1e-3) * _MILLISECONDS,
        ),
        y_range=Range1d(start=len(story.slots) - 0.4, end=-0.6),
        height=min(_MOST_PIXELS, max(220, _SLOT_PIXELS * len(story.slots) + 90)),
        sizing_mode="stretch_width",
        tools=TOOLS,
        active_scroll="xwheel_zoom",
        active_drag="xpan",
        output_backend="webgl",
        x_axis_label="time (UTC, by each executor's clock)",
        toolbar_location="above",
    )
    labels = story.labels()
    plot.yaxis.ticker = FixedTicker(ticks=list(labels))
    plot.yaxis.major_label_overrides = {row: slot for row, slot in labels.items()}  # noqa: C416 - dict() would keep the keys' narrower type
    shown = [run for run in story.runs if story.slot_of(run) is not None]
    bars = [_bars(plot, "other", _whole(story, shown), fill_color=OTHER, line_color=None)]
    for phase, colour in PHASE_COLOURS.items():
        found = _spans(story, shown, phase)
        bars.append(_bars(plot, phase, found, fill_color=colour, line_color=None))
    failed = [run for run in shown if run.failed]
    stopped = [run for run in shown if run.state in _STOPPED]
    for name, runs, style in (("failed", failed, FAILED), ("lost or given back", stopped, LOST)):
        if runs:
            bars.append(_bars(plot, name, _whole(story, runs), fill_alpha=0.0, **style))
    plot.add_tools(
        HoverTool(renderers=bars, tooltips=_TOOLTIPS), CrosshairTool(dimensions="height")
    )
    plot.legend.click_policy = "hide"
    plot.legend.orientation = "horizontal"
    plot.add_layout(plot.legend[0], "above")
    plot.ygrid.grid_line_color = None
    return plot


_TOOLTIPS = [
    ("job", "@name (@job)"),
    ("slot", "@slot"),
    ("state", "@state"),
    ("phase", "@phase, @time"),
    ("bytes", "@bytes"),
    ("reason", "@reason"),
]


def _bars(plot: figure, name: str, columns: dict[str, list[Any]], **style: Any) -> Any:
    return plot.hbar(
        y="row",
        left="left",
        right="right",
        height=0.8,
        source=ColumnDataSource(columns),
        legend_label=name,
        name=name,
        **style,
    )


def _spans(story: Story, runs: Iterable[JobRun], phase: str) -> dict[str, list[Any]]:
    """The bars of one phase."""
    rows = []
    for run in runs:
        for span in run.spans:
            if span.phase == phase:
                end = max(span.end, story.end) if span.open else span.end
                rows.append(_row(story, run, span.start, end, phase, size(span.bytes)))
    return _columns(rows)


def _whole(story: Story, runs: Iterable[JobRun]) -> dict[str, list[Any]]:
    """The bars of whole runs."""
    rows = []
    for run in runs:
        total = [count for count in (run.input_bytes, run.output_bytes) if count is not None]
        moved = size(sum(total)) if total else size(None)
        rows.append(_row(story, run, run.started, story.end_of(run), run.phase or "all", moved))
    return _columns(rows)


_COLUMNS = (
    "row",
    "slot",
    "left",
    "right",
    "name",
    "job",
    "state",
    "phase",
    "time",
    "bytes",
    "reason",
)


def _row(
    story: Story, run: JobRun, start: float, end: float, phase: str, moved: str
) -> tuple[Any, ...]:
    left, right = start * _MILLISECONDS, end * _MILLISECONDS
    about = (run.name or "", run.id, run.state, phase, duration(end - start), moved)
    slot = story.slot_of(run) or ""
    return (story.rows[slot], slot, left, right, *about, run.reason or "")


def _columns(rows: Sequence[tuple[Any, ...]]) -> dict[str, list[Any]]:
    return {name: [row[place] for row in rows] for place, name in enumerate(_COLUMNS)}
