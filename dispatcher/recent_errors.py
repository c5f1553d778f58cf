"""The last warnings and errors of a dispatcher, for `portfire dispatcher status`."""

from __future__ import annotations

import logging
from collections import deque

_KEPT = 10
_LONGEST = 300


class RecentErrors(logging.Handler):
    """Keeps what the dispatcher's own loggers say, from WARNING on. Thread-safe."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._last: deque[tuple[float, str]] = deque(maxlen=_KEPT)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one record."""
        self._last.append((record.created, record.getMessage()[:_LONGEST]))

    def __enter__(self) -> RecentErrors:
        logging.getLogger("dispatcher").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("dispatcher").removeHandler(self)

    def report(self) -> list[dict[str, object]]:
        """When (seconds since the epoch) and what, the newest last."""
        return [{"time": moment, "text": text} for moment, text in list(self._last)]
