"""The monitor without a browser: a live table on a terminal, and snapshots as lines."""

from __future__ import annotations

import dataclasses
import json
import threading
from datetime import datetime, timezone
from typing import Any, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from events.dashboard.feed import RATE_SECONDS, Feed, State
from events.dashboard.slots import executor_name
from events.dashboard.units import UNKNOWN, duration, size
from events.job_run import JobRun

_REFRESH_SECONDS = 0.5
#: Rows of the terminal's tables.
_MAX_EXECUTORS = 12
_MAX_FAILURES = 6
_STATE_STYLES = {"ready": "green", "draining": "yellow", "lost": "red"}


def watch_table(feed: Feed, console: Console, stop: threading.Event) -> None:
    """Show the live table on a terminal until `stop` is set; it stays as it was last."""
    with Live(table(feed.state()), console=console, auto_refresh=False) as live:
        while not stop.wait(_REFRESH_SECONDS):
            live.update(table(feed.state()), refresh=True)
        live.update(table(feed.state()), refresh=True)


def print_snapshots(
    feed: Feed, out: TextIO, stop: threading.Event, every: float, as_json: bool
) -> None:
    """Write one line every so many seconds, and a last one when `stop` is set. Each is flushed."""
    ended = False
    while not ended:
        ended = stop.wait(every)
        state = feed.state()
        line = json.dumps(snapshot(state), ensure_ascii=False) if as_json else plain_line(state)
        out.write(f"{line}\n")
        out.flush()


def snapshot(state: State) -> dict[str, Any]:
    """The state as JSON. Seconds since the epoch, bytes; rates over the last 30 seconds."""
    recent = state.recent
    return {
        "time": state.time,
        "pools": [
            dataclasses.asdict(pool) | ({"queued": None} if state.queue_problem else {})
            for pool in state.pools
        ],
        "counters": dataclasses.asdict(state.counters),
        "jobs_per_second": round((recent.completed + recent.failed) / RATE_SECONDS, 3),
        "bytes_in_per_second": round(recent.bytes_in / RATE_SECONDS),
        "bytes_out_per_second": round(recent.bytes_out / RATE_SECONDS),
        "executors": [
            {
                "id": item.id,
                "host": item.host,
                "pool": item.pool,
                "state": item.state,
                "heard_seconds_ago": round(max(0.0, state.time - item.heard), 1),
                "threads": item.threads,
                "busy": item.busy,
                "memory": item.memory,
                "disk": item.disk,
                "load": item.load,
                "lost_events": item.lost_events,
            }
            for item in state.executors
        ],
        "failures": [_failure(run) for run in state.failures],
        "queue_problem": state.queue_problem or None,
        "malformed": state.malformed,
        "problem": state.problem or None,
    }


def plain_line(state: State) -> str:
    """The state in one line, for a log."""
    counters = state.counters
    moment = datetime.fromtimestamp(state.time, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    alive = sum(pool.executors for pool in state.pools)
    figures = [
        f"{sum(pool.running for pool in state.pools)} running",
        f"{_queued(state)} queued",
        f"{counters.completed} completed",
        f"{counters.failed} failed",
        f"{counters.lost} lost",
        f"{_rate(state):.2f} jobs/s",
        f"{size(state.recent.bytes_in / RATE_SECONDS)}/s in",
        f"{size(state.recent.bytes_out / RATE_SECONDS)}/s out",
        f"{alive} executor{'' if alive == 1 else 's'}",
    ]
    return f"{moment} {', '.join(figures)}"


def table(state: State) -> Group:
    """The live table."""
    parts: list[Any] = [_headline(state), _pools(state), _executors(state)]
    if state.malformed:
        parts.append(Text(f"{state.malformed} messages were no events", style="dim"))
    if state.problem:
        parts.insert(0, Text(state.problem, style="bold red"))
    if state.queue_problem:
        parts.append(Text(f"queued jobs are not known: {state.queue_problem}", style="dim"))
    if state.failures:
        parts.append(_failures(state))
    return Group(*parts)


def _headline(state: State) -> Text:
    text = Text(plain_line(state).partition(" ")[2], style="bold")
    if state.counters.failed:
        text.highlight_words([f"{state.counters.failed} failed"], style="bold red")
    return text


def _pools(state: State) -> Table:
    grid = _table("pool", ">executors", ">slots", ">running", ">queued")
    for pool in state.pools:
        queued = "?" if state.queue_problem else str(pool.queued)
        grid.add_row(
            Text(pool.name), str(pool.executors), str(pool.slots), str(pool.running), queued
        )
    return grid


def _executors(state: State) -> Table:
    grid = _table("executor", "pool", "state", ">heard", ">busy", ">memory", ">disk free", ">load")
    order = {"ready": 0, "draining": 1, "lost": 2, "stopped": 3}
    found = sorted(state.executors, key=lambda item: (order[item.state], -item.last_seen))
    for item in found[:_MAX_EXECUTORS]:
        grid.add_row(
            Text(executor_name(item)),
            Text(item.pool or UNKNOWN),
            Text(item.state, style=_STATE_STYLES.get(item.state, "dim")),
            f"{duration(state.time - item.heard)} ago" if item.heard else UNKNOWN,
            UNKNOWN if item.busy is None else f"{item.busy}/{item.threads or '?'}",
            size(item.memory),
            size(item.disk),
            UNKNOWN if item.load is None else f"{item.load:.2f}",
        )
    if len(found) > _MAX_EXECUTORS:
        grid.add_row(Text(f"and {len(found) - _MAX_EXECUTORS} more", style="dim"))
    return grid


def _failures(state: State) -> Table:
    grid = _table("failed job", "state", "phase", "reason")
    for run in state.failures[:_MAX_FAILURES]:
        grid.add_row(
            Text(run.name or run.id),
            Text(run.state, style="red"),
            Text(run.phase or UNKNOWN),
            Text((run.reason or "")[:300]),
        )
    return grid


def _table(*heads: str) -> Table:
    grid = Table(box=None, pad_edge=False, header_style="dim", expand=False)
    for head in heads:
        grid.add_column(head.lstrip(">"), justify="right" if head.startswith(">") else "left")
    return grid


def _failure(run: JobRun) -> dict[str, Any]:
    return {
        "job": run.id,
        "name": run.name,
        "state": run.state,
        "phase": run.phase,
        "reason": run.reason,
        "executor": run.executor,
        "ended": run.ended,
        "exit_code": run.exit_code,
        "output": run.output,
    }


def _queued(state: State) -> str:
    return "?" if state.queue_problem else str(sum(pool.queued for pool in state.pools))


def _rate(state: State) -> float:
    return (state.recent.completed + state.recent.failed) / RATE_SECONDS
