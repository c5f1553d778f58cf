"""Publishing from many threads without waiting: a batch is what queued up meanwhile."""

from __future__ import annotations

import logging
import threading
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass

from messaging.errors import MessageTooLargeError, PortfireError, ServiceError
from messaging.pubsub import Outgoing, PubSub
from messaging.wire import MAX_MESSAGE_BYTES

log = logging.getLogger(__name__)

#: Messages and bytes of one batch: what is a request's fill, but leaves memory alone.
_BATCH_MESSAGES = 1000
_BATCH_BYTES = 5_000_000
_RETRY_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class _Entry:
    message: Outgoing
    confirmation: Future[str] | None


class BatchPublisher:
    """One daemon thread that publishes to one topic whatever has queued up.

    There is no timer: everything that is queued while the last request is in flight goes with the
    next one, so a lone message leaves at once and a burst leaves in few requests. All methods are
    thread-safe, and only `flush` and `stop` block.
    """

    def __init__(self, pubsub: PubSub, topic: str, max_queue: int = 10_000) -> None:
        """`max_queue` bounds the unconfirmed messages (`put`) that wait while Pub/Sub is away."""
        self.topic = topic
        self._pubsub = pubsub
        self._max_queue = max_queue
        #: Guards everything below. Reentrant.
        self._changed = threading.Condition()
        self._queue: deque[_Entry] = deque()
        self._in_flight = 0
        self._dropped = 0
        self._stopping = False
        self._failing = False
        self._thread = threading.Thread(target=self._run, name=f"publish-{topic}", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """How many messages of `put` were lost: the queue was full, or the topic was gone."""
        return self._dropped

    def put(self, message: Outgoing) -> None:
        """Publish when possible. When the queue is full, the oldest such message is dropped."""
        if message.size > MAX_MESSAGE_BYTES:
            with self._changed:
                self._dropped += 1
            log.warning("dropped a message of %d bytes for %s: too large", message.size, self.topic)
            return
        self._enqueue(_Entry(message, None))

    def send(self, message: Outgoing) -> Future[str]:
        """Publish now; the future has the message id, or the ServiceError or NotFoundError.

        Unlike `put`'s, such a message is neither dropped nor retried: that is the caller's to do.
        """
        confirmation: Future[str] = Future()
        if message.size > MAX_MESSAGE_BYTES:
            text = f"a message of {message.size:,} bytes is over Pub/Sub's {MAX_MESSAGE_BYTES:,}"
            confirmation.set_exception(MessageTooLargeError(text))
            return confirmation
        self._enqueue(_Entry(message, confirmation))
        return confirmation

    def flush(self, timeout: float) -> bool:
        """Wait until all that was put before is published; False when `timeout` seconds passed."""
        with self._changed:
            return self._changed.wait_for(
                lambda: not self._queue and not self._in_flight, timeout=timeout
            )

    def stop(self, timeout: float = 5.0) -> None:
        """Flush for at most `timeout` seconds, drop the rest, end the thread. Idempotent."""
        self.flush(timeout)
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join(timeout)
        with self._changed:
            left, self._queue = list(self._queue), deque()
        self._give_up(left, ServiceError(f"publisher of {self.topic} stopped"))

    def _enqueue(self, entry: _Entry) -> None:
        with self._changed:
            if self._stopping:
                self._give_up([entry], ServiceError(f"publisher of {self.topic} stopped"))
                return
            if entry.confirmation is None and len(self._queue) >= self._max_queue:
                self._drop_oldest()
            self._queue.append(entry)
            self._changed.notify_all()

    def _drop_oldest(self) -> None:
        for index, entry in enumerate(self._queue):
            if entry.confirmation is None:
                del self._queue[index]
                self._dropped += 1
                return

    def _run(self) -> None:
        while True:
            batch = self._next_batch()
            if not batch:
                return
            self._publish(batch)
            with self._changed:
                self._in_flight = 0
                self._changed.notify_all()

    def _next_batch(self) -> list[_Entry]:
        """Wait for something to send; empty when stopping."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._stopping)
            batch: list[_Entry] = []
            size = 0
            while self._queue and not self._stopping and len(batch) < _BATCH_MESSAGES:
                size += self._queue[0].message.size
                if batch and size > _BATCH_BYTES:
                    break
                batch.append(self._queue.popleft())
            self._in_flight = len(batch)
            return batch

    def _publish(self, batch: list[_Entry]) -> None:
        try:
            ids = self._pubsub.publish(self.topic, [entry.message for entry in batch])
        except ServiceError as exc:
            self._note_failure(exc)
            self._retry_later(batch, exc)
        except (PortfireError, ValueError) as exc:
            # ValueError is gRPC's word for a closed channel.
            self._note_failure(exc)
            self._give_up(batch, exc)
        else:
            self._failing = False
            for entry, message_id in zip(batch, ids, strict=True):
                if entry.confirmation is not None:
                    entry.confirmation.set_result(message_id)

    def _note_failure(self, error: Exception) -> None:
        if not self._failing:
            self._failing = True
            log.warning("%s", error)

    def _retry_later(self, batch: list[_Entry], error: Exception) -> None:
        """Tell the senders who wait; keep the others, in order, and pause."""
        self._give_up([entry for entry in batch if entry.confirmation is not None], error)
        kept = [entry for entry in batch if entry.confirmation is None]
        with self._changed:
            self._queue.extendleft(reversed(kept))
            while len(self._queue) > self._max_queue:
                self._drop_oldest()
            self._changed.wait_for(lambda: self._stopping, timeout=_RETRY_SECONDS)

    def _give_up(self, entries: list[_Entry], error: Exception) -> None:
        for entry in entries:
            if entry.confirmation is not None:
                entry.confirmation.set_exception(error)
            else:
                with self._changed:
                    self._dropped += 1
