"""The live page: what one browser shows of a feed, and how it keeps up with it."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from bokeh.document import Document
from bokeh.events import DocumentReady
from bokeh.layouts import column
from bokeh.models import CustomJS, InlineStyleSheet, Range1d
from bokeh.models.widgets import Div
from jinja2 import Template

from events.dashboard import markup
from events.dashboard.bars import Bars, Delta, bar_columns, mark_columns
from events.dashboard.charts import RateCharts, SlotChart, series_columns
from events.dashboard.controls import Controls
from events.dashboard.feed import Feed, State
from events.dashboard.slots import SlotRows
from events.job_run import JobRun

#: How often a browser gets what is new.
UPDATE_MILLISECONDS = 500
#: Bars of ended runs that a browser keeps: those of about 10,000 jobs.
MAX_BARS = 40_000
_RATE_POINTS = 300
_LEGEND = (
    ("stage-in", "stage-in"),
    ("execution", "execution"),
    ("stage-out", "stage-out"),
    ("other time of a job", "other"),
    ("failed", "failed"),
    ("lost", "lost"),
)
_NOWHERE = float("nan")


class Page:
    """One browser's view. All methods run in the server's thread, as Bokeh's callbacks do."""

    def __init__(self, document: Document, feed: Feed, place: str) -> None:
        """Fill `document`; `place` says in a few words whose events these are."""
        self._feed = feed
        self._version = 0
        self._job: JobRun | None = None
        self._labels: dict[int, str] = {}
        self._bars = self._fresh_bars()
        self._range = Range1d(start=0, end=1)
        self._slots = SlotChart(self._range)
        self._rates = RateCharts(self._range)
        style = InlineStyleSheet(css=_web_file("parts.css"))
        self._texts = {
            name: Div(name=name, sizing_mode="stretch_width", stylesheets=[style])
            for name in ("summary", "pools", "executors", "failures", "job")
        }
        self._texts["job"].text = markup.NO_JOB
        self._controls = Controls(self._range, style, choose=self._choose, find=self._find)
        for plot in (self._slots.plot, self._rates.jobs, self._rates.bytes):
            self._controls.attend(plot)
        for source, key_at in (
            (self._slots.ended, self._bars_key),
            (self._slots.growing, self._growing_key),
        ):
            self._controls.on_tap(source, key_at)
        self.update()
        self._lay_out(document, place)
        document.add_periodic_callback(self.update, UPDATE_MILLISECONDS)

    def update(self) -> None:
        """Send what is new since the last time."""
        present = self._feed.present()
        changes = self._feed.timeline.changes_since(self._version)
        if changes.reset and self._version:
            self._bars = self._fresh_bars()
            self._slots.ended.data = bar_columns([])
        self._version = changes.version
        self._draw(self._bars.take(changes))
        self._slots.growing.data = bar_columns(self._bars.growing(present))
        self._controls.follow(present)
        self._draw_rates(present)
        self._write(self._feed.state())

    def _fresh_bars(self) -> Bars:
        return Bars(SlotRows(self._feed.timeline.executors()), MAX_BARS)

    def _draw(self, delta: Delta) -> None:
        source = self._slots.ended
        if delta.stale:
            nowhere = [(place, _NOWHERE) for place in delta.stale]
            source.patch({"left": nowhere, "right": nowhere})
        if delta.bars:
            source.stream(bar_columns(delta.bars), rollover=MAX_BARS)
        if delta.marks is not None:
            self._slots.failed.data = mark_columns([mark for mark in delta.marks if not mark.lost])
            self._slots.lost.data = mark_columns([mark for mark in delta.marks if mark.lost])
        labels = self._bars.rows.labels()
        if labels != self._labels:
            self._labels = labels
            self._slots.show_rows(len(self._bars.rows), labels)

    def _draw_rates(self, present: float) -> None:
        start, end = self._controls.shown_time()
        series = self._feed.series(start, min(end, present), _RATE_POINTS)
        columns = series_columns(series)
        if columns != self._rates.source.data:
            self._rates.source.data = columns

    def _write(self, state: State) -> None:
        texts = {
            "summary": markup.summary(state),
            "pools": markup.pools(state),
            "executors": markup.executors(state),
            "failures": markup.failures(state),
        }
        for name, text in texts.items():
            if self._texts[name].text != text:
                self._texts[name].text = text
        if self._job is not None:
            run = self._feed.find_run(self._job.key)
            if run is not None and run.version != self._job.version:
                self._show(run)

    def _show(self, run: JobRun) -> None:
        self._job = run
        self._texts["job"].text = markup.job(run, self._feed.runs_of(run.id))

    def _choose(self, key: str) -> None:
        run = self._feed.find_run(key)
        if run is not None:
            self._show(run)

    def _find(self, text: str) -> None:
        found = self._feed.search(text)
        if found is None:
            self._job = None
            self._texts["job"].text = markup.not_found(text)
        else:
            self._show(found)

    def _bars_key(self, position: int) -> str | None:
        return self._bars.key_at(position)

    def _growing_key(self, position: int) -> str | None:
        growing = self._bars.growing(self._feed.present())
        return growing[position].key if position < len(growing) else None

    def _lay_out(self, document: Document, place: str) -> None:
        controls = self._controls
        rates = column(self._rates.jobs, self._rates.bytes, sizing_mode="stretch_width")
        rates.name = "rates"
        timeline = column(self._slots.plot, sizing_mode="stretch_width", name="timeline")
        failures, job = self._texts["failures"], self._texts["job"]
        part = column(controls.search, job, controls.chosen, sizing_mode="stretch_width")
        part.name = "inspector"
        roots = [self._texts[name] for name in ("summary", "pools", "executors", "failures")]
        for root in (*roots, controls.bar, timeline, rates, part):
            document.add_root(root)
        document.title = "Portfire monitor"
        document.template = Template(_web_file("page.html"))
        document.template_variables.update(style=_web_file("page.css"), place=place, legend=_LEGEND)
        ready = CustomJS(
            args={
                "figures": [self._slots.plot, self._rates.jobs, self._rates.bytes],
                "lost": [self._slots.lost_frames],
                "chosen": controls.chosen,
                "lists": [failures, job],
            },
            code=_web_file("page.js"),
        )
        document.js_on_event(DocumentReady, ready)


@cache
def _web_file(name: str) -> str:
    return (files("events.dashboard") / "web" / name).read_text("utf-8")
