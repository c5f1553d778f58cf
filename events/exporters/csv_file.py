"""One row for each finished job, appended to a CSV file."""

from __future__ import annotations

import csv
import fcntl
import io
import logging
import os
from pathlib import Path

from events.exporters.contract import Exporter
from events.metrics import JobMetrics
from messaging.errors import UsageError

log = logging.getLogger(__name__)

#: Rows that wait for a full disk to be emptied; beyond, the oldest are lost.
MAX_WAITING = 100_000
_BLOCK = 64 * 1024


class CsvExporter(Exporter):
    """Appends to `path`, which one writer may have at a time.

    A file of an earlier run goes on: its header is checked, and a last row that a crash has cut is
    removed. Rows that cannot be written (a full disk) are tried again at each flush.
    """

    def __init__(self, path: Path) -> None:
        """Open or create it; raises UsageError when that cannot be, or it has other columns."""
        self.where = str(path)
        self._waiting: list[JobMetrics] = []
        self._failing = False
        self._lost = 0
        try:
            self._file = path.open("a+b", buffering=0)
        except OSError as exc:
            raise UsageError(f"cannot write {path}: {exc.strerror}") from exc
        try:
            self._take_over()
        except OSError as exc:
            self._file.close()
            raise UsageError(f"cannot write {path}: {exc.strerror}") from exc
        except UsageError:
            self._file.close()
            raise

    def finished(self, job: JobMetrics) -> None:
        """See Exporter."""
        self._waiting.append(job)

    def flush(self) -> None:
        """See Exporter."""
        if not self._waiting or self._file.closed:
            return
        try:
            self._append(_text([job.cells() for job in self._waiting]))
        except OSError as exc:
            self._keep(exc)
            return
        if self._failing:
            log.warning("%s is written again; %d rows were lost", self.where, self._lost)
        self._waiting.clear()
        self._failing, self._lost = False, 0

    def close(self) -> None:
        """See Exporter."""
        self.flush()
        self._file.close()

    def _take_over(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise UsageError(
                f"{self.where} is being written by another portfire metrics: name another file"
            ) from exc
        header = _text([JobMetrics.names()])
        self._file.seek(0)
        first = self._file.readline(len(header) + 1)
        if not first.endswith(b"\n") and header.startswith(first):
            # New, or cut in its very first line.
            self._file.truncate(0)
            self._append(header)
        elif first != header:
            raise UsageError(f"{self.where} has other columns: name another file for --csv")
        else:
            self._remove_cut_row()

    def _remove_cut_row(self) -> None:
        end = self._file.seek(0, os.SEEK_END)
        place = end
        while place > 0:
            begin = max(0, place - _BLOCK)
            self._file.seek(begin)
            found = self._file.read(place - begin).rfind(b"\n")
            if found >= 0:
                self._file.truncate(begin + found + 1)
                return
            place = begin

    def _append(self, data: bytes) -> None:
        """Append all of it or nothing."""
        start = self._file.seek(0, os.SEEK_END)
        view = memoryview(data)
        try:
            while view:
                view = view[self._write(view) :]
        except OSError:
            self._file.truncate(start)
            raise

    def _write(self, data: memoryview) -> int:
        """Write a part of it, as the system will; how much."""
        return self._file.write(data)

    def _keep(self, error: OSError) -> None:
        if not self._failing:
            self._failing = True
            log.error("cannot write %s: %s; its rows wait", self.where, error.strerror)
        excess = max(0, len(self._waiting) - MAX_WAITING)
        self._lost += excess
        del self._waiting[:excess]


def _text(rows: list[list[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
