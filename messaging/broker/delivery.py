"""One subscription at work: its backlog, the clients that wait for messages, and one timer.

Everything here runs on the broker's event loop, so nothing needs a lock. Messages reach a waiting
client in the same step of the loop that published them; nobody polls.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Iterable

from messaging.broker.backlog import Backlog, Clock, DeadLetter, Delivery, DeliveryPolicy
from messaging.broker.protocol import Proto
from messaging.broker.status import RefusedError
from messaging.filters import Filter

#: Bytes after which a pull or one stream response is full (one more message may pass it).
RESPONSE_BYTES = 8_000_000
#: Messages in one stream response, and messages that a stream may hold unwritten.
RESPONSE_MESSAGES = 100
UNWRITTEN_MESSAGES = 500


class Stream:
    """One StreamingPull client, with its flow control. 0 or less means no limit."""

    def __init__(self, ack_deadline: float, max_messages: int, max_bytes: int) -> None:
        self.ack_deadline = ack_deadline
        self._max_messages = max_messages if max_messages > 0 else float("inf")
        self._max_bytes = max_bytes if max_bytes > 0 else float("inf")
        self._held = 0
        self._held_bytes = 0
        self._unwritten: deque[Delivery] = deque()
        self._changed = asyncio.Event()
        self._error: RefusedError | None = None

    @property
    def room(self) -> int:
        """Messages that it may be offered now."""
        if self._error or self._held_bytes >= self._max_bytes:
            return 0
        room = min(self._max_messages - self._held, UNWRITTEN_MESSAGES - len(self._unwritten))
        return max(0, int(min(room, RESPONSE_MESSAGES)))

    @property
    def room_bytes(self) -> float:
        """Bytes that it may be offered now."""
        return min(self._max_bytes - self._held_bytes, RESPONSE_BYTES)

    def offer(self, deliveries: list[Delivery], size: int) -> None:
        """Hand over what was taken for it, `size` bytes in all."""
        self._held += len(deliveries)
        self._held_bytes += size
        self._unwritten.extend(deliveries)
        self._changed.set()

    def released(self, size: int) -> None:
        """As `backlog.Holder` says."""
        self._held -= 1
        self._held_bytes -= size

    def fail(self, error: RefusedError) -> None:
        """End the stream with `error`, raised from `next_batch`."""
        self._error = self._error or error
        self._changed.set()

    def forget(self) -> list[Delivery]:
        """What was never written, which now belongs to somebody else."""
        unwritten = list(self._unwritten)
        self._unwritten.clear()
        return unwritten

    async def next_batch(self) -> list[Delivery]:
        """Wait for messages to write; raises the RefusedError that ends the stream."""
        while True:
            if self._error:
                raise self._error
            if self._unwritten:
                count = min(len(self._unwritten), RESPONSE_MESSAGES)
                return [self._unwritten.popleft() for _ in range(count)]
            self._changed.clear()
            await self._changed.wait()


class _WaitingPull:
    __slots__ = ("answer", "limit")

    def __init__(self, limit: int, answer: asyncio.Future[list[Delivery]]) -> None:
        self.limit = limit
        self.answer = answer


class LiveSubscription:
    """A subscription's settings and its messages. Belongs to the event loop it was made on."""

    def __init__(
        self, settings: Proto, message_filter: Filter, clock: Clock, dead_letter: DeadLetter
    ) -> None:
        self.settings = settings
        self._filter = message_filter if message_filter.text else None
        self._clock = clock
        self._dead_letter = dead_letter
        self._backlog = Backlog(delivery_policy(settings), clock, dead_letter)
        self._loop = asyncio.get_running_loop()
        self._pulls: OrderedDict[_WaitingPull, None] = OrderedDict()
        self._streams: deque[Stream] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0.0

    def configure(self, settings: Proto) -> None:
        """Replace the settings; messages already delivered keep their deadlines."""
        self.settings = settings
        self._backlog.policy = delivery_policy(settings)

    def publish(self, messages: Iterable[tuple[Proto, int]]) -> None:
        """Add those of these (message, bytes) that pass the filter, and deliver."""
        passes, add = self._filter, self._backlog.add
        for message, size in messages:
            if passes is None or passes.matches(message.attributes):
                add(message, size)
        self.dispatch()

    async def pull(self, limit: int, timeout: float) -> list[Delivery]:
        """Up to `limit` messages; waits up to `timeout` seconds for the first.

        When cancelled (its client went away), what it was given goes to others at once.
        """
        self._backlog.advance()
        if self._backlog.ready and not self._pulls:
            taken = self._take(limit)
            self._arm()
            return taken
        if timeout <= 0:
            return []
        waiting = _WaitingPull(limit, self._loop.create_future())
        self._pulls[waiting] = None
        expiry = self._loop.call_later(timeout, self._resolve, waiting, [])
        try:
            return await waiting.answer
        except asyncio.CancelledError:
            answer = waiting.answer
            if answer.done() and not answer.cancelled() and not answer.exception():
                self.give_back(answer.result())
            raise
        finally:
            expiry.cancel()
            self._pulls.pop(waiting, None)

    def attach(self, stream: Stream) -> None:
        """Begin delivering to `stream`."""
        self._streams.append(stream)
        self.dispatch()

    def detach(self, stream: Stream) -> None:
        """Stop delivering to `stream`; what it has not written goes to others at once."""
        if stream in self._streams:
            self._streams.remove(stream)
        self.give_back(stream.forget())

    def ack(self, ack_ids: Iterable[str]) -> list[str]:
        """As `Backlog.ack`; then deliver what that made room for."""
        self._backlog.advance()
        stale = self._backlog.ack(ack_ids)
        if self._streams or self._backlog.ready:
            self.dispatch()
        return stale

    def extend(self, ack_ids: Iterable[str], seconds: float) -> list[str]:
        """As `Backlog.extend`; then deliver what that made ready."""
        self._backlog.advance()
        stale = self._backlog.extend(ack_ids, seconds)
        self.dispatch()
        return stale

    def give_back(self, deliveries: Iterable[Delivery]) -> None:
        """Undo these deliveries, which never reached their client."""
        self._backlog.give_back([delivery.ack_id for delivery in deliveries])
        self.dispatch()

    def dispatch(self) -> None:
        """Give what is ready to who waits: pulls first, in order; then streams, in turn."""
        self._backlog.advance()
        while self._backlog.ready:
            if self._pulls:
                waiting = next(iter(self._pulls))
                taken = self._take(waiting.limit)
                if taken:
                    self._resolve(waiting, taken)
            elif not self._feed_stream():
                break
        self._arm()

    def close(self, error: RefusedError) -> None:
        """End every waiting call with `error`, and forget the messages."""
        if self._timer is not None:
            self._timer.cancel()
        for waiting in self._pulls:
            if not waiting.answer.done():
                waiting.answer.set_exception(error)
        self._pulls.clear()
        for stream in self._streams:
            stream.fail(error)
        self._backlog = Backlog(self._backlog.policy, self._clock, self._dead_letter)

    def _take(self, limit: int) -> list[Delivery]:
        return self._backlog.take(limit, RESPONSE_BYTES, self.settings.ack_deadline_seconds)

    def _resolve(self, waiting: _WaitingPull, deliveries: list[Delivery]) -> None:
        self._pulls.pop(waiting, None)
        if not waiting.answer.done():
            waiting.answer.set_result(deliveries)
        elif deliveries:
            # Cancelled in this very step of the loop: its messages were never its own.
            self._backlog.give_back([delivery.ack_id for delivery in deliveries])

    def _feed_stream(self) -> bool:
        """Offer messages to the next stream that has room; False if none has."""
        for _ in range(len(self._streams)):
            stream = self._streams[0]
            self._streams.rotate(-1)
            if room := stream.room:
                taken = self._backlog.take(room, stream.room_bytes, stream.ack_deadline, stream)
                stream.offer(taken, sum(delivery.size for delivery in taken))
                return True
        return False

    def _arm(self) -> None:
        """Have `dispatch` run when the backlog next has something to do by itself."""
        due = self._backlog.next_due()
        if due is None or (self._timer is not None and self._timer_due <= due):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_due = due
        self._timer = self._loop.call_later(max(0.0, due - self._clock()), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self.dispatch()


def delivery_policy(settings: Proto) -> DeliveryPolicy:
    """The part of a subscription's settings that its backlog obeys."""
    retry = settings.HasField("retry_policy")
    dead_letter = settings.HasField("dead_letter_policy")
    policy = settings.retry_policy
    return DeliveryPolicy(
        max_attempts=settings.dead_letter_policy.max_delivery_attempts if dead_letter else 0,
        min_backoff=policy.minimum_backoff.ToTimedelta().total_seconds() if retry else 0.0,
        max_backoff=policy.maximum_backoff.ToTimedelta().total_seconds() if retry else 0.0,
        retention=float(settings.message_retention_duration.seconds),
    )
