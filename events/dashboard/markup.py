"""Tables and a job's details as HTML. Whatever comes from an event is escaped: it is anybody's."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from html import escape

from events.dashboard.feed import RATE_SECONDS, State
from events.dashboard.slots import executor_name
from events.dashboard.units import UNKNOWN, duration, size
from events.job_run import PHASES, ExecutorInfo, JobRun

#: Rows shown; more would only cost the browser.
MAX_ROWS = 100
_MAX_OUTPUT = 20_000
#: Instead of a job, before one is chosen.
NO_JOB = "<p class=note>Click a bar or a failure, or find a job by its id or name.</p>"


def summary(state: State) -> str:
    """The line of large figures."""
    counters = state.counters
    seconds = RATE_SECONDS
    recent = state.recent
    figures = (
        ("running", f"{sum(pool.running for pool in state.pools):,}"),
        ("queued", _queued_total(state)),
        ("completed", f"{counters.completed:,}"),
        ("failed", f"{counters.failed:,}"),
        ("lost", f"{counters.lost:,}"),
        ("jobs/s", f"{(recent.completed + recent.failed) / seconds:.3g}"),
        ("staged in", f"{size(recent.bytes_in / seconds)}/s"),
        ("staged out", f"{size(recent.bytes_out / seconds)}/s"),
    )
    items = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in figures
    )
    problem = f"<p role=alert>{escape(state.problem)}</p>" if state.problem else ""
    garbage = f"{state.malformed:,} messages on the events topic were no events"
    note = f"<p class=note>{garbage}</p>" if state.malformed else ""
    return f"{problem}<dl class=figures>{items}</dl>{note}"


def pools(state: State) -> str:
    """Running and queued jobs by pool."""
    rows = [
        (
            pool.name,
            f"{pool.executors:,}",
            f"{pool.slots:,}",
            f"{pool.running:,}",
            f"{pool.queued:,}",
        )
        for pool in state.pools
    ]
    table = _table(("pool", "executors", "slots", "running", "queued"), rows, "no executor yet")
    note = state.queue_problem or "queued: of the jobs announced since this monitor began"
    return f"{table}<p class=note>{escape(note)}</p>"


def executors(state: State) -> str:
    """Executors, those that live first."""
    order = {"ready": 0, "draining": 1, "lost": 2, "stopped": 3}
    found = sorted(state.executors, key=lambda item: (order[item.state], -item.last_seen))
    rows = [_executor_row(item, state.time) for item in found[:MAX_ROWS]]
    header = ("executor", "pool", "state", "heard", "busy", "memory", "disk free", "load")
    more = f"<p class=note>and {len(found) - MAX_ROWS:,} more</p>" if len(found) > MAX_ROWS else ""
    return _table(header, rows, "no executor yet") + more


def failures(state: State) -> str:
    """The last failures; each name is a button that shows the job."""
    rows = "".join(
        f"<tr><td>{_clock(run.ended)}</td><td>{_job_button(run)}</td>"
        f"<td>{escape(run.state)}</td><td>{escape(run.phase or UNKNOWN)}</td>"
        f"<td>{escape(_shorten(run.reason))}{_output(run.output, 5)}</td></tr>"
        for run in state.failures[:MAX_ROWS]
    )
    if not rows:
        return "<p class=note>none</p>"
    heads = "".join(
        f"<th scope=col>{name}</th>" for name in ("at", "job", "state", "phase", "reason")
    )
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"


def job(run: JobRun, runs_of_job: Sequence[JobRun] = ()) -> str:
    """Everything that is known of one run, and buttons for the job's other runs."""
    facts = _facts(run)
    items = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts)
    phases = _table(("phase", "from", "took", "bytes", "error"), _phase_rows(run), "no phases told")
    others = ", ".join(_job_button(other) for other in runs_of_job if other.key != run.key)
    return (
        f"<h3>{escape(run.name or run.id)}</h3><dl class=facts>{items}</dl>{phases}"
        f"{_output(run.output, None)}{_metrics(run)}"
        + (f"<p>other runs of this job: {others}</p>" if others else "")
    )


def not_found(text: str) -> str:
    """Nothing is known of what somebody looked for."""
    return f"<p class=note>no job has the id or name {escape(_shorten(text))}</p>"


def _queued_total(state: State) -> str:
    return "?" if state.queue_problem else f"{sum(pool.queued for pool in state.pools):,}"


def _executor_row(executor: ExecutorInfo, now: float) -> tuple[str, ...]:
    age = duration(now - executor.heard) if executor.heard else UNKNOWN
    busy = UNKNOWN if executor.busy is None else f"{executor.busy}/{executor.threads or '?'}"
    state = executor.state + (f": {executor.reason}" if executor.reason else "")
    if executor.lost_events:
        state += f" ({executor.lost_events:,} events lost)"
    return (
        executor_name(executor),
        executor.pool or UNKNOWN,
        _shorten(state),
        f"{age} ago",
        busy,
        size(executor.memory),
        size(executor.disk),
        UNKNOWN if executor.load is None else f"{executor.load:.2f}",
    )


def _facts(run: JobRun) -> list[tuple[str, str]]:
    values: list[tuple[str, object]] = [
        ("id", run.id),
        ("state", run.state),
        ("phase", run.phase),
        ("reason", run.reason),
        ("exit code", run.exit_code),
        ("executable", run.executable),
        ("pool", run.pool),
        ("executor", run.executor),
        ("slot", run.thread),
        ("attempt", run.attempt),
        ("started", f"{_clock(run.started)} UTC"),
        ("took", None if run.total is None else duration(run.total)),
        ("staged in", None if run.input_bytes is None else size(run.input_bytes)),
        ("of it from the cache", None if run.cached_bytes is None else size(run.cached_bytes)),
        ("staged out", None if run.output_bytes is None else size(run.output_bytes)),
        ("image pulled in", None if run.image_pull is None else duration(run.image_pull)),
    ]
    return [(name, str(value)) for name, value in values if value is not None]


def _phase_rows(run: JobRun) -> list[tuple[str, ...]]:
    spans = sorted(run.spans, key=lambda span: (span.start, PHASES.index(span.phase)))
    return [
        (
            span.phase,
            _clock(span.start),
            duration(span.seconds) + (" so far" if span.open else ""),
            size(span.bytes),
            _shorten(span.error),
        )
        for span in spans
    ]


def _metrics(run: JobRun) -> str:
    if not run.metrics:
        return ""
    text = json.dumps(dict(run.metrics), indent=1, default=str, ensure_ascii=False)[:_MAX_OUTPUT]
    return f"<h4>metrics</h4><pre tabindex=0>{escape(text)}</pre>"


def _output(text: str | None, lines: int | None) -> str:
    """The last lines that the job printed; `lines` None: all that there are."""
    if not text:
        return ""
    shown = text.splitlines()[-lines:] if lines else text[-_MAX_OUTPUT:].splitlines()
    title = "" if lines else "<h4>last output</h4>"
    return f"{title}<pre tabindex=0>{escape(chr(10).join(shown))}</pre>"


def _job_button(run: JobRun) -> str:
    return (
        f'<button type=button class=job data-job="{escape(run.key, quote=True)}">'
        f"{escape(run.name or run.id)}</button>"
    )


def _table(header: Iterable[str], rows: Iterable[Iterable[str]], empty: str) -> str:
    heads = "".join(f"<th scope=col>{escape(name)}</th>" for name in header)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    if not body:
        return f"<p class=note>{escape(empty)}</p>"
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"


def _shorten(text: str | None, length: int = 300) -> str:
    text = text or ""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _clock(moment: float | None) -> str:
    if moment is None:
        return UNKNOWN
    return datetime.fromtimestamp(moment, timezone.utc).strftime("%H:%M:%S")
