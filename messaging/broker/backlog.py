"""The state of one subscription: which messages wait, who holds which, and until when.

::

               add                     take                          ack
    published ─────► fresh ──────────────────────► outstanding ─────────────► gone
                     returned ◄──┬── give_back ────────┤
                        ▲        └── nack, or          │ nack or deadline,
                        │            deadline passed   │ too many attempts
                     delayed (retry backoff)           └─────► dead-letter callback

Pure: no I/O, no threads, no waiting; time comes from the clock it is given, and whoever owns a
backlog calls `advance` when `next_due` has come. Every operation is O(1) or O(log n) a message.
"""

from __future__ import annotations

import itertools
import secrets
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import NamedTuple, Protocol

from messaging.broker.protocol import Proto

#: How every ack id of every broker starts: what does not is no ack id at all.
ACK_ID_PREFIX = "pf-"
#: More dead entries than this in the deadline heap, and it is built anew.
_COMPACT_ABOVE = 1000
_WEEK = 7 * 86400.0

Clock = Callable[[], float]
#: Takes a message and its number of delivery attempts; False if it could not take it.
DeadLetter = Callable[[Proto, int], bool]


class Holder(Protocol):
    """Somebody with flow control, who must know when a message is off his hands."""

    def released(self, size: int) -> None:
        """A message of `size` bytes was acked, nacked or taken away."""


@dataclass(frozen=True, kw_only=True)
class DeliveryPolicy:
    """What a subscription's settings say about delivery (seconds as float)."""

    #: Deliveries before a message is dead; 0 means that it never is, and attempts are not shown.
    max_attempts: int = 0
    #: Wait before the second delivery; doubles each time up to `max_backoff`. 0: at once.
    min_backoff: float = 0.0
    max_backoff: float = 0.0
    #: Age at which an unacknowledged message is dropped.
    retention: float = _WEEK

    def backoff(self, failures: int) -> float:
        """Seconds to wait after the `failures`-th failed delivery (from 1)."""
        return min(self.max_backoff, self.min_backoff * 2.0 ** min(failures - 1, 60))


class Delivery(NamedTuple):
    """One message in somebody's hands."""

    ack_id: str
    message: Proto
    #: From 1; 0 when the subscription has no dead-letter policy.
    attempt: int
    #: Bytes, as flow control counts them.
    size: int


class _Item:
    """A message of this subscription, wherever it stands. Mutable, private to the backlog."""

    __slots__ = ("deadline", "failures", "holder", "message", "published", "scheduled", "size")

    def __init__(self, message: Proto, size: int, published: float) -> None:
        self.message = message
        self.size = size
        self.published = published
        self.failures = 0
        self.holder: Holder | None = None
        self.deadline = 0.0
        #: The one entry of the deadline heap that counts for this item; others are leftovers.
        self.scheduled = 0.0


class Backlog:
    """Messages of one subscription. Not thread-safe: one owner."""

    def __init__(self, policy: DeliveryPolicy, clock: Clock, dead_letter: DeadLetter) -> None:
        self.policy = policy
        self._clock = clock
        self._dead_letter = dead_letter
        self._fresh: deque[_Item] = deque()
        self._returned: deque[_Item] = deque()
        self._favour_returned = True
        self._outstanding: dict[str, _Item] = {}
        self._deadlines: list[tuple[float, str]] = []
        self._delayed: list[tuple[float, int, _Item]] = []
        self._serial = itertools.count(1)
        # Ack ids of a broker's earlier life must not fit messages of this one.
        self._prefix = f"{ACK_ID_PREFIX}{secrets.token_hex(6)}-"

    @property
    def ready(self) -> bool:
        """Whether `take` would find a message now."""
        return bool(self._fresh or self._returned)

    @property
    def outstanding(self) -> int:
        """Messages delivered and not yet acknowledged."""
        return len(self._outstanding)

    def add(self, message: Proto, size: int) -> None:
        """A message was published; `size` in bytes counts for flow control."""
        now = self._clock()
        while self._fresh and now - self._fresh[0].published > self.policy.retention:
            self._fresh.popleft()
        self._fresh.append(_Item(message, size, now))

    def take(
        self, limit: int, max_bytes: float, ack_deadline: float, holder: Holder | None = None
    ) -> list[Delivery]:
        """Deliver up to `limit` messages, stopping once `max_bytes` is reached or passed.

        They are the caller's until acked, nacked, or `ack_deadline` seconds have passed.
        """
        now = self._clock()
        deadline = now + ack_deadline
        taken: list[Delivery] = []
        total = 0
        while len(taken) < limit and total < max_bytes and (item := self._next_ready()):
            if now - item.published > self.policy.retention:
                continue
            total += item.size
            taken.append(self._hand_out(item, deadline, holder))
        return taken

    def ack(self, ack_ids: Iterable[str]) -> list[str]:
        """Forget these messages; returns the ids that were stale and had no effect."""
        stale = [ack_id for ack_id in ack_ids if self._withdraw(ack_id) is None]
        self._compact()
        return stale

    def extend(self, ack_ids: Iterable[str], seconds: float) -> list[str]:
        """Set the deadlines of these messages to `seconds` from now; 0 gives them back (a nack).

        Returns the ids that were stale and had no effect.
        """
        stale = []
        deadline = self._clock() + seconds
        for ack_id in ack_ids:
            item = self._outstanding.get(ack_id)
            if item is None:
                stale.append(ack_id)
            elif seconds <= 0:
                self._withdraw(ack_id)
                self._fail(item)
            else:
                self._postpone(ack_id, item, deadline)
        return stale

    def give_back(self, ack_ids: Iterable[str]) -> None:
        """Undo these deliveries, which never reached their client: no attempt is counted."""
        for ack_id in reversed(list(ack_ids)):
            item = self._withdraw(ack_id)
            if item is not None:
                self._returned.appendleft(item)

    def advance(self) -> None:
        """Take back what is past its deadline, and make ready what has waited out its backoff."""
        now = self._clock()
        while self._deadlines and self._deadlines[0][0] <= now:
            due, ack_id = heappop(self._deadlines)
            item = self._outstanding.get(ack_id)
            if item is None or item.scheduled != due:
                continue
            if item.deadline > now:
                self._schedule(ack_id, item)
            else:
                self._withdraw(ack_id)
                self._fail(item)
        while self._delayed and self._delayed[0][0] <= now:
            self._returned.append(heappop(self._delayed)[2])

    def next_due(self) -> float | None:
        """When `advance` may next have something to do, by the clock; None if nothing is set."""
        while self._deadlines and self._deadlines[0][1] not in self._outstanding:
            heappop(self._deadlines)
        heads = [heap[0][0] for heap in (self._deadlines, self._delayed) if heap]
        return min(heads, default=None)

    def _next_ready(self) -> _Item | None:
        """Alternate between returned and fresh messages, so that neither starves the other."""
        self._favour_returned = not self._favour_returned
        if self._returned and (self._favour_returned or not self._fresh):
            return self._returned.popleft()
        return self._fresh.popleft() if self._fresh else None

    def _hand_out(self, item: _Item, deadline: float, holder: Holder | None) -> Delivery:
        ack_id = f"{self._prefix}{next(self._serial)}"
        item.holder = holder
        item.deadline = deadline
        self._outstanding[ack_id] = item
        self._schedule(ack_id, item)
        attempt = item.failures + 1 if self.policy.max_attempts else 0
        return Delivery(ack_id, item.message, attempt, item.size)

    def _schedule(self, ack_id: str, item: _Item) -> None:
        item.scheduled = item.deadline
        heappush(self._deadlines, (item.deadline, ack_id))

    def _postpone(self, ack_id: str, item: _Item, deadline: float) -> None:
        # A later deadline needs no heap entry: the earlier one is looked at when it comes up.
        item.deadline = deadline
        if deadline < item.scheduled:
            self._schedule(ack_id, item)

    def _withdraw(self, ack_id: str) -> _Item | None:
        item = self._outstanding.pop(ack_id, None)
        if item is not None and item.holder is not None:
            item.holder.released(item.size)
            item.holder = None
        return item

    def _fail(self, item: _Item) -> None:
        item.failures += 1
        dead = 0 < self.policy.max_attempts <= item.failures
        if dead and self._dead_letter(item.message, item.failures):
            return
        backoff = self.policy.backoff(item.failures)
        if backoff > 0:
            entry = (self._clock() + backoff, next(self._serial), item)
            heappush(self._delayed, entry)
        else:
            self._returned.append(item)

    def _compact(self) -> None:
        """Acked messages leave their deadlines behind; keep those fewer than the live ones."""
        if len(self._deadlines) > 2 * len(self._outstanding) + _COMPACT_ABOVE:
            self._deadlines = [(i.scheduled, a) for a, i in self._outstanding.items()]
            heapify(self._deadlines)
