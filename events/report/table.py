"""The report's table of jobs: sorted by a click on a column, narrowed down by text and state."""

from __future__ import annotations

from typing import Any

from bokeh.layouts import column, row
from bokeh.models import (
    CDSView,
    Column,
    ColumnDataSource,
    CustomJS,
    CustomJSFilter,
)
from bokeh.models.widgets import (
    DataTable,
    Div,
    NumberFormatter,
    Select,
    TableColumn,
    TextInput,
)

from events.report.rows import COLUMNS
from events.report.story import Story

_SECONDS = ("queued", "stage_in", "execution", "stage_out", "total")
_BYTES = ("input_bytes", "cached_bytes", "output_bytes")
_WIDTHS = {"job": 150, "name": 160, "started": 170, "ended": 170, "reason": 420, "executor": 150}
_ALL = "all states"
#: All words must be found somewhere in the row, in small or capital letters.
_FILTER = """
const words = (text.value_input ?? text.value).toLowerCase().split(/\\s+/).filter((word) => word)
const columns = Object.values(source.data)
const wanted = state.value
const kept = []
for (let place = 0; place < source.get_length(); place++) {
  if (wanted != all && source.data.state[place] != wanted) continue
  const line = columns.map((column) => column[place] ?? "").join("\\n").toLowerCase()
  if (words.every((word) => line.includes(word))) kept.push(place)
}
count.text = `${kept.length} of ${source.get_length()} runs`
return kept
"""


def table(story: Story) -> Column:
    """The runs of all jobs, one a row."""
    source = ColumnDataSource(
        {name: [value(run) for run in story.runs] for name, value in COLUMNS.items()}
    )
    states: list[str | tuple[Any, str]] = [_ALL, *sorted({run.state for run in story.runs})]
    text = TextInput(name="filter", title="Find (any words)", width=320)
    state = Select(name="state", title="State", value=_ALL, options=states, width=160)
    count = Div(name="count", text=f"{len(story.runs)} of {len(story.runs)} runs")
    known = {"text": text, "state": state, "count": count, "all": _ALL}
    found = CustomJSFilter(args=known, code=_FILTER)
    changed = CustomJS(args={"found": found}, code="found.change.emit()")
    text.js_on_change("value_input", changed)
    state.js_on_change("value", changed)
    shown = DataTable(
        name="jobs",
        source=source,
        view=CDSView(filter=found),
        columns=[_column(name) for name in COLUMNS],
        index_position=None,
        autosize_mode="none",
        height=480,
        sizing_mode="stretch_width",
    )
    controls = row(text, state, count, sizing_mode="stretch_width")
    return column(controls, shown, name="table", sizing_mode="stretch_width")


def _column(name: str) -> TableColumn:
    options: dict[str, Any] = {}
    if name in _SECONDS:
        options["formatter"] = NumberFormatter(format="0,0.000", text_align="right", nan_format="")
    elif name in _BYTES:
        options["formatter"] = NumberFormatter(format="0,0", text_align="right", nan_format="")
    title = name.replace("_bytes", " B").replace("_", "-")
    return TableColumn(field=name, title=title, width=_WIDTHS.get(name, 90), **options)
