"""The report's charts of how the tasks' seconds spread, by Bokeh."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from bokeh.models import (
    ColumnDataSource,
    FactorRange,
    HoverTool,
    Range1d,
    TabPanel,
    Tabs,
)
from bokeh.models.annotations import Whisker
from bokeh.models.renderers import DataRenderer
from bokeh.plotting import figure
from bokeh.transform import jitter

from events.dashboard.units import duration
from events.job_run import JobRun
from events.report.colours import EDGE, OTHER, PHASE_COLOURS
from events.report.figures import Spread, in_phase, spreads
from events.report.story import Story
from events.report.timeline_chart import TOOLS

#: Points of single runs in one chart; of more the spread alone is told.
_MOST_POINTS = 5_000
_Measure = Callable[[JobRun], float | None]


def distributions(story: Story) -> Tabs | None:
    """How long the tasks of each name took: in all, and by phase; None when none has ended."""
    measures: list[tuple[str, str, _Measure]] = [("in the slot", OTHER, lambda run: run.total)]
    measures += [(phase, colour, in_phase(phase)) for phase, colour in PHASE_COLOURS.items()]
    measures.append(("queued", OTHER, in_phase("queued")))
    completed = [run for run in story.runs if run.state == "COMPLETED"]
    panels = []
    for title, colour, seconds in measures:
        found = spreads(completed, seconds)
        if found:
            panels.append(TabPanel(title=title, child=_distribution(title, colour, found)))
    return Tabs(name="distributions", tabs=panels, sizing_mode="stretch_width") if panels else None


def _distribution(title: str, colour: str, found: Sequence[Spread]) -> figure:
    """The middle half of each name's runs as a box, 5 to 95 of 100 as whiskers, runs as dots."""
    names = FactorRange(factors=[spread.name for spread in found][::-1])
    plot = figure(
        y_range=names,
        x_range=Range1d(start=0, end=1.03 * max(max(s.values) for s in found) or 1),
        height=max(160, 34 * len(found) + 90),
        sizing_mode="stretch_width",
        tools=TOOLS,
        x_axis_label=f"seconds ({title})",
        toolbar_location="above",
    )
    source = _source(found)
    box: dict[str, Any] = {"y": "name", "height": 0.5, "source": source, "line_color": EDGE}
    boxes: list[DataRenderer] = [
        plot.hbar(left="lower", right="middle", fill_color=colour, **box),
        plot.hbar(left="middle", right="upper", fill_color=colour, **box),
    ]
    whisker = Whisker(base="name", lower="low", upper="high", dimension="width", source=source)
    plot.add_layout(whisker)
    _dots(plot, found, names)
    tips = [("task", "@name"), ("runs", "@runs"), ("in all", "@total"), ("median", "@middle s")]
    plot.add_tools(HoverTool(renderers=boxes, tooltips=tips))
    return plot


def _source(found: Sequence[Spread]) -> ColumnDataSource:
    low, lower, middle, upper, high = zip(*(spread.quantiles for spread in found), strict=True)
    return ColumnDataSource(
        {
            "name": [spread.name for spread in found],
            "runs": [len(spread.values) for spread in found],
            "total": [duration(spread.total) for spread in found],
            "low": low,
            "lower": lower,
            "middle": middle,
            "upper": upper,
            "high": high,
        }
    )


def _dots(plot: figure, found: Sequence[Spread], names: FactorRange) -> None:
    """A dot for each run, if they are not too many."""
    points = [(spread.name, value) for spread in found for value in spread.values]
    if len(points) > _MOST_POINTS:
        return
    source = ColumnDataSource(
        {"name": [name for name, _ in points], "seconds": [value for _, value in points]}
    )
    beside = jitter("name", width=0.4, range=names)
    plot.scatter(x="seconds", y=beside, source=source, size=4, color=EDGE, alpha=0.35)
