"""One pool of transfer threads for all the transfers of a process."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, TypeVar

T = TypeVar("T")

#: Threads of a pool: enough to hide 20 ms a request behind a few ms of work each.
DEFAULT_THREADS = 32


class TransferPool:
    """Runs batches of calls on a bounded number of threads. Thread-safe; threads start when needed.

    The caller of `run` works on its own batch too, so a call of a batch may itself run a batch on
    the same pool. Batches take turns: a tree of ten thousand files does not hold up one file.
    """

    def __init__(self, threads: int = DEFAULT_THREADS) -> None:
        self.threads = threads
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="transfer")

    def run(
        self, calls: Iterable[Callable[[], T]], on_error: Callable[[], None] | None = None
    ) -> list[T]:
        """The results of all `calls`, in their order.

        The first error is raised when the calls under way have ended; no other is begun after it,
        and `on_error` is called at once, to stop those under way.
        """
        batch = _Batch(calls, on_error)
        for _ in range(min(batch.waiting - 1, self.threads)):
            self._executor.submit(self._help, batch)
        while batch.step():
            pass
        return batch.result()

    def close(self) -> None:
        """End the threads once they are idle. Idempotent."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _help(self, batch: _Batch[Any]) -> None:
        if batch.step() and batch.waiting:
            # To the end of the queue, behind the other batches.
            self._executor.submit(self._help, batch)


class _Batch(Generic[T]):
    """Calls that are waiting, under way and done."""

    def __init__(
        self, calls: Iterable[Callable[[], T]], on_error: Callable[[], None] | None
    ) -> None:
        self._on_error = on_error
        self._todo = deque(enumerate(calls))
        self._results: dict[int, T] = {}
        self._error: BaseException | None = None
        self._running = 0
        self._changed = threading.Condition()  # guards all of the above

    @property
    def waiting(self) -> int:
        """Calls not begun."""
        return len(self._todo)

    def step(self) -> bool:
        """Run one call; False when none was left."""
        with self._changed:
            if not self._todo:
                return False
            number, call = self._todo.popleft()
            self._running += 1
        try:
            self._results[number] = call()
        except BaseException as exc:  # noqa: BLE001 - raised again in the caller's thread
            self._fail(exc)
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()
        return True

    def _fail(self, exc: BaseException) -> None:
        with self._changed:
            first = self._error is None
            self._error = self._error or exc
            self._todo.clear()
        # After the error is noted: those that it stops fail too, and theirs is not the reason.
        if first and self._on_error is not None:
            self._on_error()

    def result(self) -> list[T]:
        """Wait for the calls under way; then all results, or the first error raised."""
        with self._changed:
            self._changed.wait_for(lambda: not self._running and not self._todo)
            if self._error is not None:
                raise self._error
        return [self._results[number] for number in sorted(self._results)]
