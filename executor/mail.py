"""The child's end of its pipe: events wait a moment, and travel with what comes after them.

A job of a few milliseconds so costs its executor one message instead of one for each event.
"""

from __future__ import annotations

import contextlib
import threading
from multiprocessing.connection import Connection

from executor.records import Upward, packed

#: Seconds that a posted record waits at most for another to go with it.
_WAIT_SECONDS = 0.2
#: Bytes of posted records that go at once.
_MUCH = 64_000


class Mail:
    """Writes records to the pipe, in order. Thread-safe; both methods raise OSError, and for a
    record that cannot travel one of `UNSENDABLE`.
    """

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        #: Guards writing to the pipe, and what follows. Notified when its thread is to wake.
        self._posted = threading.Condition(threading.Lock())
        self._waiting: list[bytes] = []
        self._size = 0
        #: Whether the thread sleeps until it is woken; otherwise it looks again by itself.
        self._asleep = False
        self._thread: threading.Thread | None = None

    def send(self, record: Upward) -> None:
        """Write the record, after all that was posted before."""
        data = packed(record)
        with self._posted:
            self._write(data)

    def post(self, record: Upward) -> None:
        """Write the record with the next, or soon."""
        data = packed(record)
        with self._posted:
            self._waiting.append(data)
            self._size += len(data)
            if self._size > _MUCH:
                self._write(b"")
            elif self._thread is None:
                self._thread = threading.Thread(target=self._run, name="mail", daemon=True)
                self._thread.start()
            elif self._asleep:
                self._posted.notify()

    def _write(self, data: bytes) -> None:
        waiting, self._waiting, self._size = self._waiting, [], 0
        self._pipe.send_bytes(b"".join([*waiting, data]))

    def _run(self) -> None:
        # Without an executor at the other end, the child ends by itself.
        with contextlib.suppress(OSError), self._posted:
            while True:
                while not self._waiting:
                    self._asleep = True
                    self._posted.wait()
                    self._asleep = False
                oldest = self._waiting[0]
                self._posted.wait(_WAIT_SECONDS)
                if self._waiting and self._waiting[0] is oldest:
                    self._write(b"")
