"""The runs as rows: for a CSV file and for the page's table."""

from __future__ import annotations

import csv
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any, TextIO

from events.job_run import JobRun
from events.report.story import Story

#: Column names and what stands in them; seconds, bytes, and times in UTC.
COLUMNS: dict[str, Callable[[JobRun], Any]] = {
    "job": lambda run: run.id,
    "name": lambda run: run.name,
    "state": lambda run: run.state,
    "attempt": lambda run: run.attempt,
    "pool": lambda run: run.pool,
    "executor": lambda run: run.executor,
    "thread": lambda run: run.thread,
    "started": lambda run: moment(run.started),
    "ended": lambda run: None if run.ended is None else moment(run.ended),
    "queued": lambda run: run.seconds("queued"),
    "stage_in": lambda run: run.seconds("stage-in"),
    "execution": lambda run: run.seconds("execution"),
    "stage_out": lambda run: run.seconds("stage-out"),
    "total": lambda run: run.total,
    "input_bytes": lambda run: run.input_bytes,
    "cached_bytes": lambda run: run.cached_bytes,
    "output_bytes": lambda run: run.output_bytes,
    "executable": lambda run: run.executable,
    "exit_code": lambda run: run.exit_code,
    "phase": lambda run: run.phase,
    "reason": lambda run: run.reason,
}


def write_csv(story: Story, out: TextIO) -> None:
    """A header and one row for each run, in the order of their starts; empty where not known."""
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for run in story.runs:
        writer.writerow([_cell(value(run)) for value in COLUMNS.values()])


def moment(seconds: float) -> str:
    """ISO 8601, UTC, with milliseconds."""
    at = datetime.fromtimestamp(seconds, timezone.utc)
    return at.isoformat(sep=" ", timespec="milliseconds").removesuffix("+00:00")


def _cell(value: Any) -> Any:
    return f"{value:.6f}" if isinstance(value, float) else value
