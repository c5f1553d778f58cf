"""The end of an output file, in bounded memory."""

from __future__ import annotations

from pathlib import Path

MAX_LINES = 100
MAX_BYTES = 64 * 1024


def tail(path: Path, lines: int = MAX_LINES, limit: int = MAX_BYTES) -> str:
    """The last `lines` lines of `path`, at most `limit` bytes; ``""`` if there is no such file.

    Bytes that are no UTF-8 are replaced.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - limit))
            text = file.read(limit).decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "".join(text.splitlines(keepends=True)[-lines:])
