"""Events for asyncio: the blocking calls run in threads, and nothing is lost by a cancellation."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

from events.types import Event

if TYPE_CHECKING:
    from events.subscriber import Subscription

T = TypeVar("T")


class AsyncEvents:
    """The async iterator over a subscription's events; ends when the subscription is closed.

    A cancelled ``anext`` (a timeout, say) loses no event: the next one goes on where it was. For
    one task at a time.
    """

    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription
        self._ready: deque[Event] = deque()
        #: The call that is under way; it outlives who awaits it.
        self._call: Future[list[Event]] | None = None

    def __aiter__(self) -> AsyncEvents:
        return self

    async def __anext__(self) -> Event:
        while not self._ready:
            last = self._subscription.closed
            if self._call is None:
                self._call = _started(self._subscription.receive)
            try:
                events = await _result(self._call)
            except Exception:
                self._call = None
                raise
            self._call = None
            self._ready.extend(events)
            if last and not self._ready:
                raise StopAsyncIteration
        return self._ready.popleft()


async def in_thread(call: Callable[[], T]) -> T:
    """What `call` returns or raises, from a thread; when cancelled, `call` goes on to its end."""
    return await _result(_started(call))


def _started(call: Callable[[], T]) -> Future[T]:
    # A daemon of its own rather than one of asyncio's pool: the end of a loop would wait for that.
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()
    threading.Thread(target=_run, args=(call, future), name="await-events", daemon=True).start()
    return future


def _run(call: Callable[[], T], future: Future[T]) -> None:
    try:
        result = call()
    except BaseException as exc:  # noqa: BLE001 - the one who awaits it gets it
        future.set_exception(exc)
    else:
        future.set_result(result)


async def _result(future: Future[T]) -> T:
    return await asyncio.wrap_future(future)
