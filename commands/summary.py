"""What a run prints at its end: for people a line and a table, for programs JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from commands.local_run import RunResult
from events.metrics import JobMetrics

_SHOWN_FAILURES = 20


def as_json(result: RunResult, records: Sequence[JobMetrics]) -> str:
    """One JSON object: counts, seconds, and the record of every job."""
    counts = dataclasses.asdict(result.counts)
    seconds = round(result.seconds, 3)
    summary: dict[str, Any] = {
        **counts,
        "stopped": result.stopped,
        "given_back": result.given_back,
        "seconds": seconds,
        "jobs": [dataclasses.asdict(record) for record in records],
    }
    return json.dumps(summary)


def print_summary(console: Console, result: RunResult, records: Sequence[JobMetrics]) -> None:
    """A line of counts, and each failed job with its reason."""
    counts = result.counts
    ended = counts.completed + counts.fizzled
    if not ended and not result.given_back:
        console.print("nothing to run: no Firework is READY")
        return
    rate = ended / result.seconds if result.seconds else 0.0
    console.print(
        f"{ended} jobs in {result.seconds:.1f} s ({rate:.1f}/s): "
        f"{counts.completed} COMPLETED, {counts.fizzled} FIZZLED"
        + (f", {counts.cancelled} cancelled" if counts.cancelled else "")
        + (f", {result.given_back} given back" if result.given_back else ""),
        highlight=False,
    )
    failed = [record for record in records if record.state != "COMPLETED"]
    for record in failed[:_SHOWN_FAILURES]:
        console.print(
            f"  {record.name} ({record.job}) failed in {record.phase or 'job'}: {record.reason}",
            markup=False,
            highlight=False,
        )
    if len(failed) > _SHOWN_FAILURES:
        console.print(f"  and {len(failed) - _SHOWN_FAILURES} more")
    if failed:
        console.print(
            f"  `{result.lpad} get_fws -s FIZZLED -d all` shows them with their stack traces",
            markup=False,
            highlight=False,
        )


def job_table(records: Sequence[JobMetrics]) -> Table:
    """All jobs with the seconds and bytes of their phases."""
    table = Table(box=None, pad_edge=False)
    for heading in ("job", "state", "stage-in s", "bytes", "execution s", "stage-out s", "bytes"):
        table.add_column(heading, justify="left" if heading in ("job", "state") else "right")
    for record in sorted(records, key=lambda record: record.started or 0.0):
        table.add_row(
            record.name or record.job,
            record.state,
            _seconds(record.stage_in),
            _bytes(record.input_size),
            _seconds(record.execution),
            _seconds(record.stage_out),
            _bytes(record.output_size),
            style="red" if record.state != "COMPLETED" else None,
        )
    return table


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _bytes(value: int | None) -> str:
    return "" if value is None else f"{value:,}"
