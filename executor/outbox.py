"""The outbox: messages that must arrive, published until Pub/Sub has confirmed them."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from messaging.errors import (
    MessageTooLargeError,
    NotFoundError,
    PortfireError,
    ServiceError,
    UsageError,
)
from messaging.pubsub import Outgoing

log = logging.getLogger(__name__)

_BATCH = 500
#: How long a message of `send_later` waits to be withdrawn.
LATER_SECONDS = 0.1
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 10.0

Publish = Callable[[str, Sequence[Outgoing]], object]
Failed = Callable[[Exception], None]


@dataclass(frozen=True, slots=True)
class _Entry:
    topic: str
    message: Outgoing
    on_sent: Callable[[], None]
    on_failed: Failed
    #: Errors after which there is no point in trying again.
    final: tuple[type[Exception], ...]
    #: What `Outbox.withdraw` calls it.
    key: str | None = None


def _nothing(*_args: object) -> None:
    pass


def _no_patience() -> float:
    return 0.0


class Outbox:
    """One thread that publishes to any topic what has queued up, and tries again for ever.

    Thread-safe; nothing but `stop` blocks. The callbacks run in the outbox's thread and must not
    block either. What queues up during a request goes with the next one.
    """

    def __init__(
        self,
        publish: Publish,
        on_death: Callable[[str], None] = _nothing,
        patience: Callable[[], float] = _no_patience,
    ) -> None:
        """`on_death` is told if the thread ends by an error of ours.

        `patience` says for how many seconds the next message should wait for others to go with it;
        it must not block.
        """
        self._publish = publish
        self._on_death = on_death
        self._patience = patience
        lock = threading.Lock()  # guards what follows
        #: Notified when there is something to send, and of the stop. Only the outbox waits for it,
        #: and is woken for the first message of several only.
        self._wanted = threading.Condition(lock)
        #: Notified when a batch is done with.
        self._done = threading.Condition(lock)
        self._queue: deque[_Entry] = deque()
        self._later: dict[str, tuple[float, _Entry]] = {}
        #: Keys of `send_later` that are not withdrawn.
        self._keys: set[str] = set()
        self._in_flight = 0
        #: Whether the thread sleeps until it is woken.
        self._asleep = False
        self._ending = False
        self._stopping = False
        self._pause = 0.0
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def send(
        self,
        topic: str,
        message: Outgoing,
        *,
        on_sent: Callable[[], None] = _nothing,
        on_failed: Failed = _nothing,
        final: tuple[type[Exception], ...] = (),
    ) -> None:
        """Publish, and call `on_sent` when that is confirmed.

        An error in `final`, a message over the limit, or the end of the outbox gives `on_failed`;
        after any other error the message is published again.
        """
        with self._wanted:
            self._queue.append(_Entry(topic, message, on_sent, on_failed, final))
            if len(self._queue) == 1:
                self._wanted.notify()

    def send_later(self, key: str, topic: str, message: Outgoing) -> None:
        """Publish in a moment, and again after outages, unless withdrawn before.

        Each key is to be withdrawn some time.
        """
        final = (NotFoundError, UsageError)  # nobody is there to hear it
        entry = _Entry(topic, message, _nothing, _nothing, final, key)
        with self._wanted:
            self._keys.add(key)
            self._later[key] = (time.monotonic() + LATER_SECONDS, entry)
            if self._asleep:
                self._wanted.notify()

    def withdraw(self, key: str) -> None:
        """What was to be sent later under `key` is obsolete, if it has not gone yet."""
        with self._wanted:
            self._keys.discard(key)
            self._later.pop(key, None)

    def stop(self, timeout: float) -> None:
        """Publish what is queued, for at most `timeout` seconds; the rest has failed."""
        with self._wanted:
            self._keys.clear()
            self._later.clear()
            self._ending = True
            self._wanted.notify()
            self._done.wait_for(lambda: not self._queue and not self._in_flight, timeout)
            self._stopping = True
            self._wanted.notify()
        if self._thread.is_alive():
            self._thread.join(timeout)
        while self._queue:  # what `on_failed` sends in turn has failed, too
            entry = self._queue.popleft()
            entry.on_failed(ServiceError(f"no connection to publish to {entry.topic}"))

    def _run(self) -> None:
        try:
            self._send_forever()
        except Exception:
            log.exception("the outbox died")
            self._on_death("the outbox died")

    def _send_forever(self) -> None:
        while batch := self._next_batch():
            again: list[_Entry] = []
            for topic in dict.fromkeys(entry.topic for entry in batch):
                again += self._send([entry for entry in batch if entry.topic == topic])
            with self._wanted:
                self._queue.extendleft(reversed(again))
                self._in_flight = 0
                self._done.notify_all()
                if again:
                    self._back_off()
                else:
                    self._pause = 0.0

    def _next_batch(self) -> list[_Entry]:
        with self._wanted:
            while not self._stopping:
                self._take_due()
                if self._queue and (seconds := self._patience()) > 0:
                    self._wanted.wait_for(lambda: self._ending or self._stopping, seconds)
                if batch := self._take_wanted():
                    self._in_flight = len(batch)
                    return batch
                self._done.notify_all()  # the queue is empty now
                self._sleep()
            return []

    def _sleep(self) -> None:
        """Until something is to be sent."""
        first = next(iter(self._later.values()), None)
        self._asleep = first is None
        self._wanted.wait(first and max(0.0, first[0] - time.monotonic()))
        self._asleep = False

    def _take_wanted(self) -> list[_Entry]:
        batch: list[_Entry] = []
        while self._queue and len(batch) < _BATCH:
            entry = self._queue.popleft()
            if entry.key is None or entry.key in self._keys:
                batch.append(entry)
        return batch

    def _take_due(self) -> None:
        now = time.monotonic()
        for key, (due, entry) in list(self._later.items()):
            if due > now:
                return  # all wait equally long, so the others are not due either
            del self._later[key]
            self._queue.append(entry)

    def _send(self, entries: list[_Entry]) -> list[_Entry]:
        """Publish to one topic; the entries that are to be tried again."""
        try:
            self._publish(entries[0].topic, [entry.message for entry in entries])
        except (PortfireError, ValueError) as exc:  # ValueError: gRPC's word for a closed channel
            if len(entries) > 1 and not isinstance(exc, ServiceError):
                # One bad message refuses a whole request: the others shall not suffer.
                return [left for entry in entries for left in self._send([entry])]
            return self._sort_out(entries, exc)
        for entry in entries:
            entry.on_sent()
        return []

    def _sort_out(self, entries: list[_Entry], error: Exception) -> list[_Entry]:
        if self._pause == 0.0:
            # Before the first dispatcher there are no topics for what is said to dispatchers only.
            is_early = isinstance(error, NotFoundError) and all(
                isinstance(error, entry.final) for entry in entries
            )
            log.log(logging.DEBUG if is_early else logging.WARNING, "%s", error)
        again = []
        for entry in entries:
            if isinstance(error, (MessageTooLargeError, *entry.final)):
                entry.on_failed(error)
            else:
                again.append(entry)
        return again

    def _back_off(self) -> None:
        """Wait before the next try; with jitter, for a fleet loses its connection all at once."""
        self._pause = min(max(_FIRST_PAUSE, self._pause * 2), _LONGEST_PAUSE)
        wait = self._pause * random.uniform(0.5, 1.0)  # not for secrets
        self._wanted.wait_for(lambda: self._stopping, wait)
