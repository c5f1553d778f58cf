"""Recordings as Parquet: one row an event, its JSON as published and columns to search by.

A Parquet file cannot be added to, and is worth nothing until its end is written. So a recorder
keeps a journal of JSON lines beside it, which is as safe as any recording, and merges the two when
it stops. Who reads the Parquet file reads its journal too: nothing is missing after a crash.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from events.event_log import identity, sync_directory
from events.recording import json_lines, unreadable
from messaging.errors import UsageError

#: Events of one row group: what is in memory at a time.
_ROWS = 5_000
_JSON = "json"


def journal_of(path: Path) -> Path:
    """Where the events are that are not in the Parquet file yet."""
    return path.with_name(f"{path.name}.journal.jsonl")


def parquet_lines(path: Path) -> Generator[bytes, None, None]:
    """The events of a Parquet recording, then of its journal, as lines; raises UsageError."""
    journal = journal_of(path)
    rows = _rows(path) if path.exists() or not journal.exists() else iter(())
    return _chained(rows, json_lines(journal) if journal.exists() else iter(()))


def _chained(rows: Iterable[bytes], journal: Iterable[bytes]) -> Generator[bytes, None, None]:
    yield from rows
    yield from journal


def _rows(path: Path) -> Generator[bytes, None, None]:
    file = _open(path)
    if _JSON not in file.schema_arrow.names:
        raise UsageError(f"{path} is no recording of events: it has no column `{_JSON}`")
    return _rows_of(path, file)


def _open(path: Path) -> Any:
    """The file as pyarrow sees it; raises UsageError."""
    pyarrow = require_pyarrow(path)
    try:
        return pyarrow.parquet.ParquetFile(path)
    except pyarrow.ArrowInvalid as exc:
        raise UsageError(f"{path} is no whole Parquet file: {_first_line(exc)}") from exc
    except OSError as exc:
        raise unreadable(path, exc) from exc


def _rows_of(path: Path, file: Any) -> Generator[bytes, None, None]:
    with file:
        try:
            for batch in file.iter_batches(batch_size=_ROWS, columns=[_JSON]):
                for value in batch.column(0).to_pylist():
                    yield (value or "").encode() + b"\n"
        except OSError as exc:
            # pyarrow's word for damaged pages as well.
            raise UsageError(f"the recording {path} is damaged: {_first_line(exc)}") from exc


def merge_journal(path: Path) -> None:
    """Move the journal's events into the Parquet file, each event once; nothing without a journal.

    Whenever this is interrupted, nothing is lost and the next call does it. Raises UsageError.
    """
    journal = journal_of(path)
    if not journal.exists():
        return
    temporary = path.with_name(f"{path.name}.part")
    try:
        _write(temporary, path)
        temporary.replace(path)
        sync_directory(path)
        journal.unlink()
    except OSError as exc:
        raise UsageError(f"cannot write the recording {path}: {exc.strerror or exc}") from exc
    finally:
        temporary.unlink(missing_ok=True)


def _write(temporary: Path, path: Path) -> None:
    pyarrow = require_pyarrow(path)
    schema = _schema(pyarrow)
    with temporary.open("wb") as file:
        with pyarrow.parquet.ParquetWriter(file, schema, compression="zstd") as writer:
            for rows in _groups(_merged(path)):
                writer.write_table(pyarrow.Table.from_pylist(rows, schema=schema))
        file.flush()
        os.fsync(file.fileno())


def _groups(lines: Iterable[bytes]) -> Iterator[list[dict[str, Any]]]:
    rows: list[dict[str, Any]] = []
    for line in lines:
        rows.append(_row(line))
        if len(rows) == _ROWS:
            yield rows
            rows = []
    if rows:
        yield rows


def _merged(path: Path) -> Iterator[bytes]:
    """All of the Parquet file, and of its journal what that lacks.

    The events of a journal whose merge was interrupted at its very end are in both.
    """
    journal = journal_of(path)
    missing = {identity(line) for line in json_lines(journal)} - {None}
    if path.exists():
        for line in _rows(path):
            missing.discard(identity(line))
            yield line
    for line in json_lines(journal):
        if (event_id := identity(line)) in missing:
            missing.remove(event_id)
            yield line


def _row(line: bytes) -> dict[str, Any]:
    body = from_json(line)
    seq, timestamp = body.get("seq"), body.get("timestamp")
    return {
        "timestamp": float(timestamp) if isinstance(timestamp, int | float) else None,
        "type": _text(body.get("type")),
        "executor": _text(body.get("executor")),
        "job": _text(body.get("id")),
        "seq": seq if isinstance(seq, int) and 0 <= seq < 2**63 else None,
        "event_id": _text(body.get("event_id")),
        _JSON: line.strip().decode(),
    }


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _schema(pyarrow: Any) -> Any:
    text = pyarrow.string()
    return pyarrow.schema(
        [
            ("timestamp", pyarrow.float64()),
            ("type", text),
            ("executor", text),
            ("job", text),
            ("seq", pyarrow.int64()),
            ("event_id", text),
            (_JSON, text),
        ]
    )


def require_parquet(path: Path) -> None:
    """Raise UsageError unless a recording can be kept at `path`."""
    require_pyarrow(path)
    if path.exists():
        _rows(path).close()


def require_pyarrow(path: Path) -> Any:
    """The library; raises UsageError saying how to get it."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as exc:
        raise UsageError(
            f"{path} is a Parquet file, and pyarrow is missing: pip install 'portfire[parquet]'"
        ) from exc
    return pyarrow


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
