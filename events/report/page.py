"""The report as one HTML file that needs nothing else: BokehJS, data and style are inside."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

from bokeh.document import Document
from bokeh.embed import file_html
from bokeh.events import DocumentReady
from bokeh.models import CustomJS
from bokeh.models.ui import UIElement
from bokeh.plotting import figure
from bokeh.resources import INLINE
from jinja2 import Template

from events.dashboard.units import UNKNOWN, duration, size
from events.job_run import RunState
from events.report.critical_path import Workflow, critical_path
from events.report.distributions import distributions
from events.report.figures import Cost, costs, use
from events.report.rows import moment
from events.report.story import Story
from events.report.table import table
from events.report.timeline_chart import timeline

#: Failures told in words; the table has them all.
_MOST_FAILURES = 20


def html(story: Story, title: str, workflows: Sequence[Workflow] = ()) -> str:
    """The page. `title` says whose events these are; `workflows` get their critical paths."""
    roots: list[UIElement] = [timeline(story), table(story)]
    spread = distributions(story)
    if spread is not None:
        roots.append(spread)
    document = Document()
    for root in roots:
        document.add_root(root)
    plots = [plot for root in roots for plot in root.select({"type": figure})]
    paint = CustomJS(args={"plots": plots}, code=_file("paint.js"))
    document.js_on_event(DocumentReady, paint)
    return file_html(
        document,
        INLINE,
        title=title,
        template=Template(_file("page.html")),
        template_variables={
            "style": _file("page.css"),
            "summary": _summary(story),
            "costs": [_cost(cost) for cost in costs(story)],
            "failures": story.failures[:_MOST_FAILURES],
            "more_failures": max(0, len(story.failures) - _MOST_FAILURES),
            "paths": [(workflow.name, critical_path(workflow)) for workflow in workflows],
            "has_distributions": spread is not None,
            "duration": duration,
        },
    )


def _summary(story: Story) -> list[tuple[str, str]]:
    """What the head of the page says, each with its name."""
    used = use(story)
    efficiency = UNKNOWN if used.efficiency is None else f"{used.efficiency:.1%}"
    moved = [sum(c.bytes or 0 for c in costs(story) if c.phase == p) for p in _TRANSFERS]
    return [
        ("from", f"{moment(story.begin)} UTC"),
        ("to", f"{moment(story.end)} UTC"),
        ("time", duration(story.end - story.begin)),
        ("jobs", f"{len({run.id for run in story.runs}):,}"),
        ("runs", _states(story)),
        ("executors", f"{len(story.executors):,}"),
        ("slots", f"{used.used_slots:,} used of {used.slots:,}"),
        (
            "efficiency",
            f"{efficiency}: {duration(used.busy)} of {duration(used.available)} slot time",
        ),
        ("staged in, out", f"{size(moved[0])}, {size(moved[1])}"),
    ]


_TRANSFERS = ("stage-in", "stage-out")


def _states(story: Story) -> str:
    counts: dict[RunState, int] = {}
    for run in story.runs:
        counts[run.state] = counts.get(run.state, 0) + 1
    return ", ".join(f"{count:,} {state}" for state, count in sorted(counts.items())) or "none"


def _cost(cost: Cost) -> tuple[str, ...]:
    share = UNKNOWN if cost.share is None else f"{cost.share:.1%}"
    rate = UNKNOWN if cost.rate is None else f"{size(cost.rate)}/s"
    seconds = f"{cost.seconds:,.3f}"
    return (cost.phase, f"{cost.spans:,}", seconds, share, size(cost.bytes), rate)


def _file(name: str) -> str:
    return (files("events.report") / "web" / name).read_text(encoding="utf-8")
