"""Publishing from many threads without waiting: a batch is what queued up meanwhile."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from messaging.errors import PortfireError, ServiceError
from messaging.pubsub import Outgoing, PubSub
from messaging.wire import MAX_MESSAGE_BYTES

log = logging.getLogger(__name__)

#: Messages and bytes of one batch: what is a request's fill, but leaves memory alone.
_BATCH_MESSAGES = 1000
_BATCH_BYTES = 5_000_000
_RETRY_SECONDS = 0.5

T = TypeVar("T")


class BatchPublisher(Generic[T]):
    """One daemon thread that publishes to one topic whatever has queued up.

    What is queued while the last request is in flight, or less than `linger` seconds after it, goes
    with the next one: a lone message leaves at once, and a burst leaves in few requests. All
    methods are thread-safe, and only `flush` and `stop` block.
    """

    def __init__(
        self,
        pubsub: PubSub,
        topic: str,
        pack: Callable[[T], Outgoing | None],
        *,
        max_queue: int = 10_000,
        linger: float = 0.0,
    ) -> None:
        """`pack` makes the message of what was put, or None: then it is lost. It is called in the
        publisher's thread, one after the other, which costs a fraction of doing so between other
        work, and must not raise. `max_queue` bounds what waits while Pub/Sub is away.
        """
        self.topic = topic
        self._pubsub = pubsub
        self._pack = pack
        self._max_queue = max_queue
        self._linger = linger
        lock = threading.RLock()  # guards everything below
        #: Notified of the first in an empty queue, and when there is no time to linger. Further
        #: ones wake nobody: that would cost more than to publish them.
        self._wanted = threading.Condition(lock)
        #: Notified when a request is done with.
        self._done = threading.Condition(lock)
        self._queue: deque[T] = deque()
        #: What the thread is at: taken from the queue, and not published yet.
        self._in_hand = 0
        #: Threads that wait for the queue to empty.
        self._flushing = 0
        #: Monotonic time until which messages wait for others.
        self._linger_until = 0.0
        self._dropped = 0
        self._stopping = False
        self._failing = False
        self._thread = threading.Thread(target=self._run, name=f"publish-{topic}", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """How many were lost: the queue was full, the topic gone, or there was no message in it."""
        return self._dropped

    def put(self, item: T) -> None:
        """Publish when possible. When the queue is full, the oldest in it is dropped."""
        with self._wanted:
            if self._stopping:
                self._dropped += 1
                return
            self._queue.append(item)
            if len(self._queue) > self._max_queue:
                self._queue.popleft()
                self._dropped += 1
            if len(self._queue) in (1, _BATCH_MESSAGES):
                self._wanted.notify()

    def flush(self, timeout: float) -> bool:
        """Wait until all that was put before is published; False when `timeout` seconds passed."""
        with self._done:
            self._flushing += 1
            self._wanted.notify()
            try:
                return self._done.wait_for(
                    lambda: not self._queue and not self._in_hand, timeout=timeout
                )
            finally:
                self._flushing -= 1

    def stop(self, timeout: float = 5.0) -> None:
        """Flush for at most `timeout` seconds, drop the rest, end the thread. Idempotent."""
        self.flush(timeout)
        with self._wanted:
            self._stopping = True
            self._wanted.notify()
        self._thread.join(timeout)
        with self._wanted:
            self._dropped += len(self._queue) + self._in_hand
            self._queue.clear()
            self._in_hand = 0

    def _run(self) -> None:
        messages: list[Outgoing] = []
        while (items := self._take(len(messages))) is not None:
            messages += self._packed(items)
            if messages:
                batch = _first_batch(messages)
                is_over = self._publish(batch)
                if is_over:
                    del messages[: len(batch)]
            with self._done:
                self._in_hand = len(messages)
                self._linger_until = time.monotonic() + self._linger
                self._done.notify_all()
                if messages and not is_over:
                    self._wanted.wait_for(lambda: self._stopping, timeout=_RETRY_SECONDS)

    def _take(self, left: int) -> list[T] | None:
        """Wait for something to send, unless there are so many left; None when stopping."""
        with self._wanted:
            self._wanted.wait_for(lambda: left or self._queue or self._stopping)
            self._wanted.wait_for(self._is_urgent, self._linger_until - time.monotonic())
            if self._stopping:
                return None
            room = max(0, _BATCH_MESSAGES - left)
            items = [self._queue.popleft() for _ in range(min(room, len(self._queue)))]
            self._in_hand = left + len(items)
            return items

    def _is_urgent(self) -> bool:
        return self._stopping or self._flushing > 0 or len(self._queue) >= _BATCH_MESSAGES

    def _packed(self, items: list[T]) -> list[Outgoing]:
        messages = []
        for message in map(self._pack, items):
            if message is None:
                continue
            if message.size > MAX_MESSAGE_BYTES:
                text = "dropped a message of %d bytes for %s: too large"
                log.warning(text, message.size, self.topic)
                continue
            messages.append(message)
        with self._wanted:
            self._dropped += len(items) - len(messages)
        return messages

    def _publish(self, batch: list[Outgoing]) -> bool:
        """Whether it is over with these: published, or lost."""
        try:
            self._pubsub.publish(self.topic, batch)
        except ServiceError as exc:
            self._note_failure(exc)
            return False
        except (PortfireError, ValueError) as exc:
            # ValueError is gRPC's word for a closed channel.
            self._note_failure(exc)
            with self._wanted:
                self._dropped += len(batch)
        else:
            self._failing = False
        return True

    def _note_failure(self, error: Exception) -> None:
        if not self._failing:
            self._failing = True
            log.warning("%s", error)


def _first_batch(messages: list[Outgoing]) -> list[Outgoing]:
    """As many of the first ones as go into one request; one at least."""
    size = 0
    for count, message in enumerate(messages):
        size += message.size
        if count and size > _BATCH_BYTES:
            return messages[:count]
    return list(messages)
