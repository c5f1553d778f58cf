"""Log records to Cloud Logging, from a thread of their own, behind a bounded queue.

google-cloud-logging has a handler for this, whose queue is not bounded, whose entries are lost at
the first refusal, and whose end prints; hence this one. Whoever logs never waits: a record for
which there is no room is counted and dropped. While the service is away, what waits is kept and
tried again; when it refuses us, less often. Each entry has an id, so that none is stored twice.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Protocol

from commands.logs.backlog import Backlog, Entry
from commands.logs.labels import labels_of, severity_of
from messaging.errors import PortfireError, ServiceError

log = logging.getLogger(__name__)

#: What may wait: minutes of a busy executor.
MAX_ENTRIES, MAX_BYTES = 20_000, 16_000_000
#: Of one request: Cloud Logging takes 10 MB, and 256 kB of one entry.
_BATCH_ENTRIES, _BATCH_BYTES, _LONGEST = 1000, 2_000_000, 60_000
#: Seconds to wait for others to send along; a thousand VMs must not ask a thousand times a second.
_GATHER_SECONDS = 1.0
_CALL_SECONDS = 10.0
#: Pauses before the same entries are tried again, seconds; the last one goes on.
_PAUSES = (1.0, 2.0, 5.0, 10.0, 30.0)
_REFUSED_PAUSE = 60.0
#: At the end there is no time for that.
_LAST_PAUSE = 0.2


class LogService(Protocol):
    """Where entries go; `CloudLogging` is one."""

    def write(self, entries: Sequence[Entry], labels: Mapping[str, str], timeout: float) -> int:
        """Send them; how many are not wanted. Raises UsageError, ServiceError."""

    def close(self) -> None:
        """End a call that goes on. From any thread."""


class CloudLogHandler(logging.Handler):
    """A handler for the root logger. Its methods may be called from any thread."""

    def __init__(
        self, service: LogService, max_entries: int = MAX_ENTRIES, max_bytes: int = MAX_BYTES
    ) -> None:
        super().__init__()
        self._service = service
        self._backlog = Backlog(max_entries, max_bytes)
        self._labels: Mapping[str, str] = {}
        self._numbers = itertools.count()
        self._offered = 0  # guarded by the handler's own lock, as are all of `emit`'s
        self._no_room = 0
        self._stored = 0  # written by our thread alone, as are those below
        self._unwanted = 0
        self._complained = ""
        self._deadline: float | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cloud-log", daemon=True)

    @property
    def dropped(self) -> int:
        """Records that did not and will not arrive, so far; at the end, all that did not."""
        if self._closing.is_set():
            return self._offered - self._stored
        return self._no_room + self._unwanted

    def begin(self, labels: Mapping[str, str]) -> None:
        """Send from now on, `labels` with each entry. Until then what is logged waits."""
        self._labels = dict(labels)
        if self._thread.ident is None:
            self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record in, or count it as dropped; never blocks, never raises."""
        if threading.current_thread() is self._thread:
            return  # what we say about the service would go round in circles
        try:
            text = self.format(record)
        except Exception:  # noqa: BLE001 - a wrong format string must not end a job
            self.handleError(record)
            return
        entry = Entry(
            timestamp=record.created,
            severity=severity_of(record),
            text=text if len(text) <= _LONGEST else f"{text[:_LONGEST]} [cut]",
            labels={**labels_of(record), "logger": record.name},
            number=next(self._numbers),
        )
        self._offered += 1
        if not self._backlog.put(entry):
            self._no_room += 1

    def send_all(self, seconds: float) -> bool:
        """Have all that waits sent; whether that was done within `seconds`."""
        return self._thread.is_alive() and self._backlog.wait_empty(seconds)

    def end(self, seconds: float) -> int:
        """Send what waits, for at most `seconds`; how many records did not arrive. Idempotent."""
        if not self._closing.is_set():
            self.begin(self._labels)
            self._deadline = time.monotonic() + seconds
            self._closing.set()
            self._backlog.close()
            self._thread.join(seconds)
            self._service.close()
            if self._thread.is_alive():
                self._thread.join(1.0)
        return self.dropped

    def _run(self) -> None:
        try:
            while batch := self._backlog.take(_BATCH_ENTRIES, _BATCH_BYTES, _GATHER_SECONDS):
                self._send(batch)
                self._backlog.settle()
        except Exception:
            log.exception("nothing more goes to Cloud Logging")
            self._backlog.close()

    def _send(self, batch: Sequence[Entry]) -> None:
        """Try until they are stored, or there is no more time."""
        attempt = 0
        while (left := self._time_left()) > 0:
            try:
                unwanted = self._service.write(batch, self._labels, min(_CALL_SECONDS, left))
            except PortfireError as exc:
                if not self._may_try_again(exc, attempt):
                    return
                attempt += 1
            else:
                self._stored += len(batch) - unwanted
                self._unwanted += unwanted
                self._say_that_it_works()
                return

    def _may_try_again(self, error: PortfireError, attempt: int) -> bool:
        """Wait before it; whether there is a point in it."""
        refused = not isinstance(error, ServiceError)
        if not self._closing.is_set():
            self._complain(str(error))
            pause = _REFUSED_PAUSE if refused else _PAUSES[min(attempt, len(_PAUSES) - 1)]
            self._closing.wait(pause)
            return True
        # The end: a service that is away may be back in time, one that refuses us will not.
        time.sleep(min(_LAST_PAUSE, max(0.0, self._time_left())))
        return not refused

    def _time_left(self) -> float:
        return _CALL_SECONDS if self._deadline is None else self._deadline - time.monotonic()

    def _complain(self, problem: str) -> None:
        """On the console, once for each kind of trouble."""
        if problem != self._complained:
            log.warning("%s; jobs go on, and what can be kept is sent later", problem)
            self._complained = problem

    def _say_that_it_works(self) -> None:
        if self._complained:
            lost = f"; {self.dropped} entries were dropped" if self.dropped else ""
            log.warning("Cloud Logging takes log entries again%s", lost)
            self._complained = ""
