"""What a person does with the page: choose the time that is shown, and the job."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bokeh.events import MouseWheel, PanStart
from bokeh.layouts import row
from bokeh.models import ColumnDataSource, InlineStyleSheet, Plot, Range1d
from bokeh.models.widgets import Button, Select, TextInput, Toggle

_WINDOWS = {60: "1 minute", 300: "5 minutes", 900: "15 minutes", 3600: "1 hour", 21600: "6 hours"}
_DEFAULT_WINDOW = 300
#: Free space right of the present, as a share of the window.
_MARGIN = 0.02


class Controls:
    """The widgets, all of them the browser's own: reachable and usable by keyboard.

    `choose` is called with the key of the run to show, `find` with what somebody looks for.
    """

    def __init__(
        self,
        time_range: Range1d,
        style: InlineStyleSheet,
        choose: Callable[[str], None],
        find: Callable[[str], None],
    ) -> None:
        self._range = time_range
        self._window = float(_DEFAULT_WINDOW)
        self._choose = choose
        self._follow = Toggle(label="Follow", active=True, stylesheets=[style])
        options: list[str | tuple[Any, str]] = [
            (str(seconds), text) for seconds, text in _WINDOWS.items()
        ]
        window = Select(value=str(_DEFAULT_WINDOW), options=options, stylesheets=[style])
        window.title, window.name = "Show", "window"
        window.on_change("value", self._on_window)
        earlier = Button(label="◀ Earlier", stylesheets=[style])
        later = Button(label="Later ▶", stylesheets=[style])
        earlier.on_click(lambda: self._move(-0.5))
        later.on_click(lambda: self._move(+0.5))
        self.bar = row(window, earlier, later, self._follow, name="controls")
        #: The browser writes the key of a run here when a job's button is pressed.
        self.chosen = TextInput(name="chosen", visible=False)
        self.chosen.on_change("value", lambda _name, _old, key: choose(key) if key else None)
        self.search = TextInput(title="Find a job: its id or name, then Enter", name="search")
        self.search.stylesheets = [style]
        self.search.on_change("value", lambda _name, _old, text: find(text) if text else None)

    def attend(self, plot: Plot) -> None:
        """Follow no more once somebody moves `plot` by hand: it shall stay there."""
        for event in (PanStart, MouseWheel):
            plot.on_event(event, self._stop_following)

    def on_tap(self, source: ColumnDataSource, key_at: Callable[[int], str | None]) -> None:
        """Show the job of a bar of `source` that somebody clicked."""

        def tapped(_name: str, _old: Any, indices: list[int]) -> None:
            key = key_at(indices[0]) if indices else None
            if key is not None:
                self._choose(key)
            if indices:
                # The positions of bars change; what was clicked is on show beside them.
                source.selected.indices = []

        source.selected.on_change("indices", tapped)

    def follow(self, present: float) -> None:
        """Move the time that is shown along, if it follows the present."""
        if self._follow.active:
            start, end = present - self._window, present + self._window * _MARGIN
            self._range.update(start=start * 1e3, end=end * 1e3)

    def shown_time(self) -> tuple[float, float]:
        """The time that is shown, in seconds since the epoch."""
        return _seconds(self._range.start), _seconds(self._range.end)

    def _stop_following(self, _event: object) -> None:
        self._follow.active = False

    def _on_window(self, _name: str, _old: object, value: str) -> None:
        self._window = float(value)
        _, end = self.shown_time()
        self._range.start = (end - self._window * (1 + _MARGIN)) * 1e3

    def _move(self, share: float) -> None:
        self._follow.active = False
        start, end = self.shown_time()
        by = (end - start) * share
        self._range.update(start=(start + by) * 1e3, end=(end + by) * 1e3)


def _seconds(milliseconds: Any) -> float:
    return float(milliseconds) / 1e3
