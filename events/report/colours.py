"""Colours of the report: Okabe and Ito's, which colour-blind people can tell apart."""

from __future__ import annotations

from typing import Any

from events.job_run import SpanPhase

PHASE_COLOURS: dict[SpanPhase, str] = {
    "stage-in": "#56b4e9",
    "execution": "#e69f00",
    "stage-out": "#009e73",
}
#: What a job does in none of these.
OTHER = "#bbbbbb"
EDGE = "#555555"
_VERMILION = "#d55e00"
_BLUE = "#0072b2"
#: Bokeh's styles of bars: hatched, so that no colour need be seen.
FAILED: dict[str, Any] = {
    "line_color": _VERMILION,
    "line_width": 2,
    "hatch_pattern": "diagonal_cross",
    "hatch_color": _VERMILION,
    "hatch_scale": 8,
}
LOST: dict[str, Any] = {
    "line_color": _BLUE,
    "line_width": 2,
    "hatch_pattern": "right_diagonal_line",
    "hatch_color": _BLUE,
    "hatch_scale": 8,
}
#: Matplotlib's styles of the same.
HATCHES: dict[str, dict[str, Any]] = {
    "failed": {"hatch": "xxx", "edgecolor": _VERMILION},
    "lost": {"hatch": "///", "edgecolor": _BLUE},
    "released": {"hatch": "...", "edgecolor": _BLUE},
    "cancelled": {"hatch": "|||", "edgecolor": _BLUE},
}
