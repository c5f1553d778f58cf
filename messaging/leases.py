"""Leases: the right to run a job is a Pub/Sub message whose ack deadline we keep extending.

The life of a lease::

            hold                  every third of the lease time
    pulled ──────► held ◄──────────────── extend
                    │ │
      time ran out  │ │  acknowledge / give_back / let_go
    (no extension   ▼ ▼
     confirmed)   lost  settled

*Held* is a matter of clocks, not of calls: a lease is held until `seconds` after the moment at
which the last **confirmed** extension was *sent*. So a keeper that hangs in a call, a paused VM or
a network that swallows packets end the lease here no later than they end it at the server, and
whoever asks `is_held` gets the truth without waiting. `on_lost` is told so that the job can be
stopped early; the question before stage-out is what guarantees that a job whose lease is lost
stores nothing.

A fresh lease counts as held for only 10 seconds, Pub/Sub's shortest ack deadline: the subscription
may have been made with another deadline than ours. It is therefore extended after 3 seconds;
shorter jobs cost no extension at all.

The same message delivered again (its lease was lost at the server, or the publisher sent the job
twice) is *adopted*: acking a second delivery while the first runs would ack both.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from messaging.errors import PortfireError, ServiceError, UsageError
from messaging.pubsub import Received
from messaging.topology import MIN_ACK_DEADLINE

log = logging.getLogger(__name__)

FIRST_EXTENSION_SECONDS = 3.0
_RETRY_SECONDS = 1.0
#: How often the threads look what is due. Ticking costs less than being woken by every short job.
_TICK_SECONDS = 0.5
#: How long acks wait for others to go with them: nobody waits for an ack.
_ACK_LINGER_SECONDS = 0.1


class LeaseService(Protocol):
    """The part of PubSub that leases need."""

    def acknowledge(self, subscription: str, ack_ids: Sequence[str]) -> None:
        """Settle messages for good."""

    def extend(self, subscription: str, ack_ids: Sequence[str], seconds: float) -> None:
        """Let leases end `seconds` from now."""


def lease_clock() -> float:
    """Seconds that pass while the machine is suspended, too (`time.monotonic` stands still)."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _ignore(_what: str) -> None:
    pass


class Lease:
    """One job's lease. Opaque; only its keeper changes it, under the keeper's lock."""

    __slots__ = ("ack_ids", "due", "label", "lost", "settled", "until")

    def __init__(self, label: str, message: Received, now: float, seconds: float) -> None:
        #: What the log calls it.
        self.label = label
        #: Message id → newest ack id. More than one when the job was published twice.
        self.ack_ids = {message.message_id: message.ack_id}
        self.until = now + min(seconds, MIN_ACK_DEADLINE)
        self.due = now + min(seconds / 3, FIRST_EXTENSION_SECONDS)
        self.lost = False
        self.settled = False


class LeaseKeeper:
    """Extends all held leases of one subscription, settles them in batches, tells of lost ones.

    Thread-safe. Three threads, because none may wait for another's call: ``lease-extend``,
    ``lease-settle`` and ``lease-watch``, which calls `on_lost` (once per lease; it must not block).
    """

    def __init__(
        self,
        service: LeaseService,
        subscription: str,
        seconds: float,
        *,
        on_lost: Callable[[Lease], None],
        on_death: Callable[[str], None] = _ignore,
        clock: Callable[[], float] = lease_clock,
    ) -> None:
        """`on_death` is told if one of the threads ends by an error of ours."""
        #: Pub/Sub takes whole seconds.
        self.seconds = float(int(seconds))
        self._on_death = on_death
        self._service = service
        self._subscription = subscription
        self._on_lost = on_lost
        self._clock = clock
        self._stop = threading.Event()
        lock = threading.Lock()  # guards everything below, and the leases
        #: Notified of the first that is to settle, and of all that shall not wait for others.
        self._changed = threading.Condition(lock)
        #: Notified when something is settled.
        self._settled = threading.Condition(lock)
        self._leases: set[Lease] = set()
        self._acks: list[str] = []
        self._nacks: list[str] = []
        self._settling = False
        self._failing = False
        self._threads = [
            threading.Thread(target=self._guard, args=(name, body), name=name, daemon=True)
            for name, body in (
                ("lease-extend", self._extend_forever),
                ("lease-settle", self._settle_forever),
                ("lease-watch", self._watch_forever),
            )
        ]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self, timeout: float = 5.0) -> None:
        """Send what waits to be acked and given back, stop extending, end the threads."""
        with self._changed:
            self._settled.wait_for(
                lambda: not self._acks and not self._nacks and not self._settling, timeout=timeout
            )
            self._stop.set()
            self._changed.notify_all()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(timeout)

    def hold(self, label: str, message: Received) -> Lease:
        """Keep the lease on a message that was pulled just now."""
        with self._changed:
            lease = Lease(label, message, self._clock(), self.seconds)
            self._leases.add(lease)
        return lease

    def adopt(self, lease: Lease, message: Received) -> bool:
        """Take a second delivery of a leased job into its lease; False when the lease is lost."""
        with self._changed:
            if lease.lost or lease.settled:
                return False
            now = self._clock()
            lease.ack_ids[message.message_id] = message.ack_id
            lease.until = max(lease.until, now + min(self.seconds, MIN_ACK_DEADLINE))
            lease.due = min(lease.due, now + min(self.seconds / 3, FIRST_EXTENSION_SECONDS))
        return True

    def is_held(self, lease: Lease) -> bool:
        """Whether the job is certainly still ours, at this moment."""
        with self._changed:
            return not lease.lost and not lease.settled and self._clock() < lease.until

    def acknowledge(self, lease: Lease) -> None:
        """The job is done: ack its messages soon. A lost lease too: a stale ack id does no harm."""
        self._settle(lease, self._acks)

    def give_back(self, lease: Lease) -> None:
        """Let the job be delivered again, after the subscription's backoff."""
        self._settle(lease, self._nacks)

    def give_back_message(self, message: Received) -> None:
        """Give back a message that was never held."""
        with self._changed:
            self._queue([message.ack_id], self._nacks)

    def acknowledge_message(self, message: Received) -> None:
        """Ack a message that was never held."""
        with self._changed:
            self._queue([message.ack_id], self._acks)

    def let_go(self, lease: Lease) -> None:
        """Stop extending and do nothing else: the lease belongs to somebody else by now."""
        self._settle(lease, [])

    def extend_due(self) -> bool:
        """Extend the leases that are due, in one call; False when that failed. For one thread."""
        with self._changed:
            now = self._clock()
            # What has run out already is lost, even if nobody has said so yet: the server may have
            # given it to another, and would not tell.
            due = [lease for lease in self._leases if lease.due <= now < lease.until]
            ids = {lease: list(lease.ack_ids.values()) for lease in due}
        if not due:
            return True
        confirmed = self._extended(ids)
        with self._changed:
            for lease in confirmed:
                if self._clock() < lease.until:
                    lease.until = now + self.seconds
                    lease.due = now + self.seconds / 3
        return len(confirmed) == len(due)

    def expire(self) -> None:
        """Tell of the leases whose time ran out. For one thread."""
        with self._changed:
            now = self._clock()
            gone = [lease for lease in self._leases if lease.until <= now and not lease.lost]
            for lease in gone:
                lease.lost = True
        for lease in gone:
            log.warning("lease on job %s lost: it could not be extended in time", lease.label)
            self._on_lost(lease)

    def settle(self) -> bool:
        """Send the acks and give-backs that have queued up; False when that failed."""
        with self._changed:
            acks, self._acks[:] = list(self._acks), []
            nacks, self._nacks[:] = list(self._nacks), []
            self._settling = True
        acks = self._unsettled(acks, lambda ids: self._service.acknowledge(self._subscription, ids))
        nacks = self._unsettled(nacks, lambda ids: self._service.extend(self._subscription, ids, 0))
        with self._changed:
            self._acks.extend(acks)
            self._nacks.extend(nacks)
            self._settling = False
            self._settled.notify_all()
        return not acks and not nacks

    def _settle(self, lease: Lease, queue: list[str]) -> None:
        with self._changed:
            if lease.settled:
                return
            lease.settled = True
            self._leases.discard(lease)
            self._queue(lease.ack_ids.values(), queue)

    def _queue(self, ack_ids: Iterable[str], queue: list[str]) -> None:
        # One more ack wakes nobody: waking a thread costs more than the ack.
        if not queue or queue is self._nacks:
            self._changed.notify()
        queue.extend(ack_ids)

    def _extended(self, ids: dict[Lease, list[str]]) -> list[Lease]:
        """Extend in one call, else (one bad ack id refuses a whole call) one by one."""
        try:
            flat = [ack_id for lease_ids in ids.values() for ack_id in lease_ids]
            self._service.extend(self._subscription, flat, self.seconds)
        except (PortfireError, ValueError) as exc:
            self._note_failure(exc)
            if len(ids) == 1 or isinstance(exc, ServiceError):
                return []
            return [lease for lease in ids if self._extended({lease: ids[lease]})]
        self._failing = False
        return list(ids)

    def _unsettled(self, ack_ids: list[str], call: Callable[[list[str]], None]) -> list[str]:
        """Settle in one call, else one by one as above; the ack ids to try again."""
        try:
            if ack_ids:
                call(ack_ids)
        except ServiceError as exc:
            self._note_failure(exc)
            return ack_ids
        except (PortfireError, ValueError) as exc:
            self._note_failure(exc)
            # Without subscription, or (ValueError) connection, there is nothing left to settle.
            if len(ack_ids) > 1 and isinstance(exc, UsageError):
                return [left for ack_id in ack_ids for left in self._unsettled([ack_id], call)]
        return []

    def _note_failure(self, error: Exception) -> None:
        """One line per outage."""
        if not self._failing:
            self._failing = True
            log.warning("%s", error)

    def _guard(self, name: str, body: Callable[[], None]) -> None:
        try:
            body()
        except Exception:
            log.exception("%s died", name)
            self._on_death(f"{name} died")

    def _extend_forever(self) -> None:
        while not self._stop.wait(_TICK_SECONDS):
            if not self.extend_due():
                self._stop.wait(_RETRY_SECONDS)

    def _watch_forever(self) -> None:
        while not self._stop.wait(_TICK_SECONDS):
            self.expire()

    def _settle_forever(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._acks or self._nacks or self._stop.is_set())
                self._changed.wait_for(
                    lambda: self._nacks or self._stop.is_set(), timeout=_ACK_LINGER_SECONDS
                )
                if self._stop.is_set():
                    return
            if not self.settle():
                self._stop.wait(_RETRY_SECONDS)
