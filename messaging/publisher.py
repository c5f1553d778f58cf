"""Publishing from many threads without waiting: a batch is what queued up meanwhile."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque

from messaging.errors import PortfireError, ServiceError
from messaging.pubsub import Outgoing, PubSub
from messaging.wire import MAX_MESSAGE_BYTES

log = logging.getLogger(__name__)

#: Messages and bytes of one batch: what is a request's fill, but leaves memory alone.
_BATCH_MESSAGES = 1000
_BATCH_BYTES = 5_000_000
_RETRY_SECONDS = 0.5


class BatchPublisher:
    """One daemon thread that publishes to one topic whatever has queued up.

    What is queued while the last request is in flight, or less than `linger` seconds after it, goes
    with the next one: a lone message leaves at once, and a burst leaves in few requests. All
    methods are thread-safe, and only `flush` and `stop` block.
    """

    def __init__(
        self, pubsub: PubSub, topic: str, *, max_queue: int = 10_000, linger: float = 0.0
    ) -> None:
        """`max_queue` bounds the messages that wait while Pub/Sub is away."""
        self.topic = topic
        self._pubsub = pubsub
        self._max_queue = max_queue
        self._linger = linger
        lock = threading.RLock()  # guards everything below
        #: Notified of the first message in an empty queue, and when there is no time to linger.
        #: Further messages wake nobody: that would cost more than to publish them.
        self._wanted = threading.Condition(lock)
        #: Notified when a request is done with.
        self._done = threading.Condition(lock)
        self._queue: deque[Outgoing] = deque()
        self._in_flight = 0
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
        """How many messages were lost: the queue was full, or the topic was gone."""
        return self._dropped

    def put(self, message: Outgoing) -> None:
        """Publish when possible. When the queue is full, the oldest message is dropped."""
        if message.size > MAX_MESSAGE_BYTES:
            with self._wanted:
                self._dropped += 1
            log.warning("dropped a message of %d bytes for %s: too large", message.size, self.topic)
            return
        with self._wanted:
            if self._stopping:
                self._dropped += 1
                return
            self._queue.append(message)
            self._drop_oldest()
            if len(self._queue) in (1, _BATCH_MESSAGES):
                self._wanted.notify()

    def flush(self, timeout: float) -> bool:
        """Wait until all that was put before is published; False when `timeout` seconds passed."""
        with self._done:
            self._flushing += 1
            self._wanted.notify()
            try:
                return self._done.wait_for(
                    lambda: not self._queue and not self._in_flight, timeout=timeout
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
            self._dropped += len(self._queue)
            self._queue.clear()

    def _drop_oldest(self) -> None:
        while len(self._queue) > self._max_queue:
            self._queue.popleft()
            self._dropped += 1

    def _run(self) -> None:
        while batch := self._next_batch():
            self._publish(batch)
            with self._done:
                self._in_flight = 0
                self._linger_until = time.monotonic() + self._linger
                self._done.notify_all()

    def _next_batch(self) -> list[Outgoing]:
        """Wait for something to send; empty when stopping."""
        with self._wanted:
            self._wanted.wait_for(lambda: self._queue or self._stopping)
            self._wanted.wait_for(self._is_urgent, self._linger_until - time.monotonic())
            batch: list[Outgoing] = []
            size = 0
            while self._queue and not self._stopping and len(batch) < _BATCH_MESSAGES:
                size += self._queue[0].size
                if batch and size > _BATCH_BYTES:
                    break
                batch.append(self._queue.popleft())
            self._in_flight = len(batch)
            return batch

    def _is_urgent(self) -> bool:
        return self._stopping or self._flushing > 0 or len(self._queue) >= _BATCH_MESSAGES

    def _publish(self, batch: list[Outgoing]) -> None:
        try:
            self._pubsub.publish(self.topic, batch)
        except ServiceError as exc:
            self._note_failure(exc)
            self._retry_later(batch)
        except (PortfireError, ValueError) as exc:
            # ValueError is gRPC's word for a closed channel.
            self._note_failure(exc)
            with self._wanted:
                self._dropped += len(batch)
        else:
            self._failing = False

    def _note_failure(self, error: Exception) -> None:
        if not self._failing:
            self._failing = True
            log.warning("%s", error)

    def _retry_later(self, batch: list[Outgoing]) -> None:
        """Keep the messages, in order, and pause."""
        with self._wanted:
            self._queue.extendleft(reversed(batch))
            self._drop_oldest()
            self._wanted.wait_for(lambda: self._stopping, timeout=_RETRY_SECONDS)
