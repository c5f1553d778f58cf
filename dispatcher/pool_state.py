"""Tells executors how much there is to do for their pool: they do not see the LaunchPad."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from messaging.errors import PortfireError
from messaging.names import Names
from messaging.pubsub import Outgoing, PubSub
from messaging.wire import PoolState

log = logging.getLogger(__name__)

#: Seconds between two announcements, at most.
_INTERVAL = 30.0
#: Seconds between two looks whether the pool has run dry, or has work again.
_LOOK_SECONDS = 2.0
#: Up to how many are counted: what follows from more is the same, and counting costs.
_COUNTED = 10_000
#: What may yet make a WAITING Firework READY.
_MOVING = ("READY", "RESERVED", "RUNNING")


class PoolStateAnnouncer:
    """Publishes `PoolState` every 30 seconds, and when the pool runs dry or has work again.

    Not thread-safe. What cannot be published is left out: the next one says it all.
    """

    def __init__(
        self,
        pubsub: PubSub,
        names: Names,
        pool: str,
        launchpad: Any,
        query: dict[str, Any],
        in_flight: Callable[[], int],
    ) -> None:
        """`query` says which Fireworks are the pool's; `in_flight` counts its jobs."""
        self._pubsub = pubsub
        self._names = names
        self._pool = pool
        self._launchpad = launchpad
        self._query = query
        self._in_flight = in_flight
        self._next = 0.0
        self._next_look = 0.0
        self._said_busy: bool | None = None

    def announce_when_due(self, now: float) -> None:
        """Publish if it is time to, `now` being monotonic; raises pymongo's errors."""
        changed = now >= self._next_look and bool(self._in_flight()) != self._said_busy
        if now < self._next and not changed:
            return
        self._next, self._next_look = now + _INTERVAL, now + _LOOK_SECONDS
        self._said_busy = bool(self._in_flight())
        message = Outgoing(self.look().encode(), {"type": "pool-state", "pool": self._pool})
        try:
            self._pubsub.publish(self._names.control, [message])
        except PortfireError as exc:
            log.debug("the pool's state was not announced: %s", exc)

    def look(self) -> PoolState:
        """How much there is to do; raises pymongo's errors."""
        return PoolState(
            pool=self._pool,
            ready=self._count("READY"),
            waiting=self._count("WAITING") if self._moves() else 0,
            in_flight=self._in_flight(),
        )

    def _count(self, state: str) -> int:
        query = {"$and": [{"state": state}, self._query]}
        return int(self._launchpad.fireworks.count_documents(query, limit=_COUNTED))

    def _moves(self) -> bool:
        """Whether anything goes on: what waits for a FIZZLED parent waits for ever."""
        moving = {"state": {"$in": list(_MOVING)}}
        return self._launchpad.fireworks.find_one(moving, {"fw_id": 1}) is not None
