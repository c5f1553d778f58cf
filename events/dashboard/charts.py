"""The page's charts: Bokeh's figures and their sources; `events.dashboard.page` fills them."""

from __future__ import annotations

from typing import Any

from bokeh.models import (
    ColumnDataSource,
    CustomJSTickFormatter,
    DatetimeTickFormatter,
    FixedTicker,
    HoverTool,
    LinearColorMapper,
    Range1d,
    TapTool,
)
from bokeh.plotting import figure
from bokeh.transform import transform

from events.dashboard.bars import Columns, bar_columns, mark_columns
from events.dashboard.rates import Series

#: Okabe and Ito's colours, which (nearly) everybody can tell apart: stage-in, execution,
#: stage-out, other.
PHASE_COLOURS = ("#56b4e9", "#e69f00", "#009e73", "#999999")
FAILED_COLOUR = "#d55e00"
_COMPLETED_COLOUR = "#0072b2"
_ROW_PIXELS = 14
_MIN_HEIGHT, _MAX_HEIGHT = 180, 860
_AXES_PIXELS = 60
_CHART_HEIGHT = 170
#: So much for the labels left of each chart: their time axes shall be at the same place.
_LEFT_PIXELS = 150
#: Bokeh's own formatter knows powers of 1,024 only, and writes 16 MB as 15.3.
_BYTES = """
const units = ["B", "kB", "MB", "GB", "TB"]
const exponent = Math.floor(Math.log10(Math.max(1, Math.abs(tick))) / 3 + 1e-9)
const step = Math.min(units.length - 1, exponent)
return `${Number((tick / 1000 ** step).toPrecision(3))} ${units[step]}`
"""


class SlotChart:
    """The timeline: bars of ended runs are appended, growing bars and frames are written anew."""

    def __init__(self, time_range: Range1d) -> None:
        self.ended = ColumnDataSource(bar_columns([]), name="ended")
        self.growing = ColumnDataSource(bar_columns([]), name="growing")
        self.failed = ColumnDataSource(mark_columns([]))
        self.lost = ColumnDataSource(mark_columns([]))
        self.plot = _figure(
            time_range,
            height=_MIN_HEIGHT,
            y_range=Range1d(start=0.5, end=-0.5),
            # By name, that a test may look at what is drawn.
            name="slots",
            # Thousands of bars at once: in the graphics card, where there is one (see page.html).
            output_backend="webgl",
        )
        colour = transform("phase", LinearColorMapper(palette=PHASE_COLOURS, low=-0.5, high=3.5))
        bars = [self._quads(source, fill_color=colour) for source in (self.ended, self.growing)]
        self._quads(
            self.failed,
            fill_alpha=0,
            line_color=FAILED_COLOUR,
            line_width=2,
            hatch_pattern="/",
            hatch_color=FAILED_COLOUR,
            hatch_scale=6,
        )
        self.lost_frames = self._quads(
            self.lost, fill_alpha=0, line_color="black", line_width=2, line_dash="dashed"
        )
        self.plot.add_tools(
            HoverTool(
                renderers=bars,
                tooltips=[("", "@name"), ("from", "@left{%H:%M:%S}")],
                formatters={"@left": "datetime"},
            ),
            TapTool(renderers=bars),
        )
        self.plot.ygrid.visible = False

    def show_rows(self, count: int, labels: dict[int, str]) -> None:
        """Make room for so many rows, with these labels."""
        self.plot.y_range.update(start=count - 0.5, end=-0.5)
        self.plot.height = max(_MIN_HEIGHT, min(_MAX_HEIGHT, count * _ROW_PIXELS + _AXES_PIXELS))
        self.plot.yaxis[0].major_label_overrides = labels
        self.plot.yaxis[0].ticker = FixedTicker(ticks=sorted(labels), minor_ticks=[])

    def _quads(self, source: ColumnDataSource, **looks: Any) -> Any:
        looks.setdefault("line_color", None)
        # No other look for the rest when one is chosen: that would repaint every bar.
        return self.plot.quad(
            left="left",
            right="right",
            top="top",
            bottom="bottom",
            source=source,
            nonselection_fill_alpha=looks.get("fill_alpha", 1.0),
            **looks,
        )


class RateCharts:
    """Jobs and bytes per second, along the timeline's own time axis."""

    def __init__(self, time_range: Range1d) -> None:
        self.source = ColumnDataSource(series_columns(Series()))
        self.jobs = _figure(time_range, height=_CHART_HEIGHT, name="jobs", y_axis_label="jobs/s")
        self.bytes = _figure(time_range, height=_CHART_HEIGHT, name="bytes", y_axis_label="bytes/s")
        self.bytes.yaxis[0].formatter = CustomJSTickFormatter(code=_BYTES)
        for plot, lines in (
            (
                self.jobs,
                (("completed", _COMPLETED_COLOUR, "solid"), ("failed", FAILED_COLOUR, "dashed")),
            ),
            (
                self.bytes,
                (
                    ("staged in", PHASE_COLOURS[0], "solid"),
                    ("staged out", PHASE_COLOURS[2], "dashed"),
                ),
            ),
        ):
            for name, colour, dash in lines:
                plot.step(
                    "time",
                    name,
                    source=self.source,
                    mode="after",
                    color=colour,
                    line_dash=dash,
                    line_width=2,
                    legend_label=name,
                )
            plot.y_range.start = 0
            plot.legend.location = "top_left"
            plot.legend.orientation = "horizontal"
            plot.legend.background_fill_alpha = 0.6
            plot.legend.border_line_alpha = 0


def series_columns(series: Series) -> Columns:
    """Columns for the rates' data source."""
    return {
        "time": [moment * 1e3 for moment in series.time],
        "completed": series.completed,
        "failed": series.failed,
        "staged in": series.bytes_in,
        "staged out": series.bytes_out,
    }


def _figure(time_range: Range1d, **more: Any) -> Any:
    plot = figure(
        x_range=time_range,
        x_axis_type="datetime",
        tools="xpan,xwheel_zoom,xbox_zoom",
        active_drag="xpan",
        active_scroll=None,
        sizing_mode="stretch_width",
        # The page's own colours show through, light or dark.
        background_fill_alpha=0,
        border_fill_alpha=0,
        outline_line_alpha=0,
        toolbar_location="above",
        min_border_left=_LEFT_PIXELS,
        **more,
    )
    plot.toolbar.logo = None
    plot.xaxis[0].formatter = DatetimeTickFormatter(
        seconds="%H:%M:%S", minsec="%H:%M:%S", minutes="%H:%M", hours="%H:%M", days="%d %b"
    )
    plot.yaxis.axis_label_text_font_style = "normal"
    return plot
