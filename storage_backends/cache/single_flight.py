"""One does the work, and all who ask for the same meanwhile wait for it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from storage_backends.errors import StorageError
from storage_backends.watch import TransferStoppedError, Watch

#: Seconds between two looks of those who wait at their watches.
_TICK = 0.25


class Flights:
    """Work under way by key. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards _flights
        self._flights: dict[str, _Flight] = {}

    @contextmanager
    def join(self, key: str, watch: Watch) -> Iterator[bool]:
        """Whether the ``with`` block is to do the work; else somebody else has done it by then.

        Raises the StorageError with which the other failed. One who was stopped has not failed for
        the others: the caller looks again what there is, and joins again.
        """
        with self._lock:
            flight = self._flights.get(key)
            leads = flight is None
            if flight is None:
                flight = self._flights[key] = _Flight()
        if not leads:
            flight.wait(watch)
            yield False
            return
        try:
            yield True
        except TransferStoppedError:
            raise
        except StorageError as exc:
            flight.error = exc
            raise
        finally:
            with self._lock:
                del self._flights[key]
            flight.landed.set()


class _Flight:
    def __init__(self) -> None:
        self.landed = threading.Event()
        self.error: StorageError | None = None

    def wait(self, watch: Watch) -> None:
        while not self.landed.wait(_TICK):
            watch.check()
        if self.error is not None:
            # Each waiter raises one of its own: an exception has one traceback.
            raise type(self.error)(str(self.error)) from self.error
