"""Makes topics and subscriptions, and looks, now and then, whether all are still there."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable

from dispatcher.settings import DispatcherSettings
from messaging import topology
from messaging.errors import PortfireError, UsageError
from messaging.names import Names
from messaging.pubsub import PubSub

log = logging.getLogger(__name__)

#: For so many seconds after something was made here, an executor that says it has made the pool's
#: subscription means the same loss.
_ECHO_SECONDS = 10.0
#: Every so many rounds the topics are asked for as well, not only the subscriptions.
_ROUNDS_PER_FULL_LOOK = 10


class TopologyCare:
    """Makes what is missing, if that is allowed. Not thread-safe; raises what `topology` raises."""

    def __init__(
        self, pubsub: PubSub, settings: DispatcherSettings, note_loss: Callable[[], None]
    ) -> None:
        """`note_loss` is called when messages on their way were lost with what is missing."""
        self._pubsub = pubsub
        self._settings = settings
        self._names = settings.names
        self._note_loss = note_loss
        self._told = False
        #: Monotonic time at which what had been lost was there again.
        self._made = -math.inf

    @property
    def has_made_lately(self) -> bool:
        """Whether a loss was noted, and made good, a moment ago."""
        return time.monotonic() - self._made < _ECHO_SECONDS

    def ensure(self) -> None:
        """Make what is missing; UsageError when that is not allowed."""
        missing = self._missing()
        if missing and not self._settings.create:
            raise UsageError(_advice(missing))
        self._make(missing)

    def restore(self) -> None:
        """Make what vanished; when that is not allowed, say so, once, and wait for others to."""
        missing = self._missing()
        if self._settings.create:
            if self._make(missing):
                log.warning(
                    "Pub/Sub had lost topics or subscriptions; what was queued is sent again"
                )
        elif missing and not self._told:
            self._told = True
            log.warning("%s", _advice(missing))

    def _missing(self) -> list[topology.MissingPart]:
        return topology.missing_parts(self._pubsub, self._names, self._settings.pool)

    def _make(self, missing: list[topology.MissingPart]) -> bool:
        """Whether jobs or updates were lost with what had to be made."""
        if not missing:
            return False
        lost = any(part.loses_jobs for part in missing)
        if lost:
            # Before they are made: should we die in between, the loss must not be forgotten.
            self._note_loss()
        for ensure in (topology.ensure_dispatcher, topology.ensure_pool):
            ensure(self._pubsub, self._names, self._settings.pool, self._settings.lease_seconds)
        if lost:
            self._made = time.monotonic()
        return lost


def _advice(missing: list[topology.MissingPart]) -> str:
    return (
        f"Pub/Sub lacks {', '.join(part.what for part in missing)}: have somebody with the "
        "right to create them run `portfire dispatcher` once without --no-create"
    )


class TopologyWatch:
    """One thread that asks Pub/Sub every `seconds` and calls `on_missing`; ends with `stop`.

    A thread of its own because the questions take a third of a second on a real Pub/Sub. A deleted
    topic is noticed by nobody else: its subscriptions stay, and are silent; but they tell of it, so
    that the topics themselves need asking for but rarely.
    """

    def __init__(
        self,
        pubsub: PubSub,
        names: Names,
        pool: str,
        seconds: float,
        on_missing: Callable[[], None],
    ) -> None:
        self._pubsub = pubsub
        self._names = names
        self._pool = pool
        self._seconds = seconds
        self._on_missing = on_missing
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="topology", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread. Idempotent."""
        self._stopping.set()
        self._thread.join(timeout=5.0)

    def _run(self) -> None:
        rounds = 0
        while not self._stopping.wait(self._seconds):
            rounds += 1
            try:
                if self._is_anything_missing(with_topics=rounds % _ROUNDS_PER_FULL_LOOK == 0):
                    self._on_missing()
            except (PortfireError, ValueError) as exc:
                # Away, or (ValueError, gRPC's word) closed: the others notice that as well.
                log.debug("%s", exc)

    def _is_anything_missing(self, *, with_topics: bool) -> bool:
        if with_topics:
            return bool(topology.missing_parts(self._pubsub, self._names, self._pool))
        subscriptions = (
            self._names.pool_updates(self._pool),
            self._names.pool_jobs(self._pool),
            self._names.pool_dead_jobs(self._pool),
        )
        return not all(self._pubsub.subscription_exists(each) for each in subscriptions)
