"""The last lines of what a failed execution printed, as they travel in its event."""

from __future__ import annotations

import re
from collections.abc import Iterable

MAX_LINES = 20
MAX_BYTES = 4096
#: What a terminal would obey: colours, cursor movements, titles; and what is left of them.
_CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|[\x00-\x08\x0e-\x1f\x7f-\x9f]"
)


def last_lines(texts: Iterable[str]) -> str | None:
    """The end of all `texts` together: at most 20 lines and 4 KB of valid UTF-8; None of nothing.

    Each return of a progress bar makes a line. Empty lines, control characters and spaces at the
    end of lines are left out. Where there is too much, the end of the last text is kept.
    """
    # Of a text with many escape sequences less may be left than there is room for.
    lines = [line for text in texts for line in text[-8 * MAX_BYTES :].splitlines()]
    shown = [_CONTROL.sub("", line).rstrip() for line in lines]
    last = "\n".join([line for line in shown if line][-MAX_LINES:])
    data = last.encode("utf-8", "replace")[-MAX_BYTES:]
    return data.decode("utf-8", "ignore") or None
