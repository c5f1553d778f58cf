"""The events of one run on this machine, kept in a file."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import IO

from events.types import Event
from messaging.errors import UsageError

log = logging.getLogger(__name__)


class KeptEvents:
    """Writes events as JSON lines to a file, made anew. `keep` from one thread, `close` from any.

    A disk that is full costs the rest of the events, never the run.
    """

    def __init__(self, path: Path) -> None:
        """Open the file; raises UsageError."""
        self.path = path
        try:
            self._file: IO[bytes] | None = path.open("wb")
        except OSError as exc:
            raise UsageError(f"cannot write events to {path}: {exc.strerror or exc}") from exc
        self._lock = threading.Lock()  # guards _file

    def keep(self, event: Event) -> None:
        """Write an event."""
        with self._lock:
            if self._file is None:
                return
            try:
                self._file.write(event.encode() + b"\n")
            except OSError as exc:
                self._give_up(exc)

    def close(self) -> None:
        """Close the file. Idempotent."""
        with self._lock:
            file, self._file = self._file, None
            if file is not None:
                try:
                    file.close()
                except OSError as exc:
                    self._give_up(exc)

    def _give_up(self, error: OSError) -> None:
        self._file = None
        log.error("events are not kept in %s any more: %s", self.path, error.strerror or error)
