"""Which jobs wait for an executor: what the jobs topic announced and no event has taken up.

No event says that a job was submitted, so this listens to the jobs topic itself, with a temporary
subscription of its own; that takes no job from anybody. Jobs that waited before the monitor began
are not known, and its displays say so.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections import Counter, OrderedDict

from events.subscriber import EXPIRE_SECONDS
from events.types import Event, JobEvent, JobRejected, JobReleased
from messaging.errors import NotFoundError, PortfireError, UsageError
from messaging.names import Names
from messaging.pubsub import PubSub

logger = logging.getLogger(__name__)

DEFAULT_POOL = "default"
#: Jobs remembered on each side; beyond, the oldest are forgotten.
_REMEMBERED = 100_000
#: Clocks may differ by so much between Pub/Sub and executors, in seconds.
_SKEW_SECONDS = 5.0
_PULL_MESSAGES = 200
_PULL_SECONDS = 10.0
_RETRY_SECONDS = 2.0


class QueuedJobs:
    """The waiting jobs by pool. Thread-safe.

    The announcement of a job and its events come by different ways, in any order: a job that was
    taken up already is not counted when its announcement comes late.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        #: Guarded by the lock: pool by waiting job; time of the last event by job.
        self._waiting: OrderedDict[str, str] = OrderedDict()
        self._taken: OrderedDict[str, float] = OrderedDict()
        self._pools: dict[str, str] = {}

    def announced(self, job: str, pool: str, published: float) -> None:
        """The jobs topic had this job, at `published` (seconds since the epoch)."""
        with self._lock:
            taken = self._taken.get(job)
            if taken is None or published > taken + _SKEW_SECONDS:
                _remember(self._waiting, job, pool)

    def see(self, event: Event) -> None:
        """Take an event into account."""
        if isinstance(event, JobEvent) and event.job and not isinstance(event, JobRejected):
            with self._lock:
                self._see(event, event.job)
        elif pool := getattr(event, "pool", None):
            with self._lock:
                self._pools[event.executor] = str(pool)

    def by_pool(self) -> Counter[str]:
        """The number of waiting jobs by pool."""
        with self._lock:
            return Counter(self._waiting.values())

    def _see(self, event: JobEvent, job: str) -> None:
        if isinstance(event, JobReleased):
            # Given back: it waits again, in the pool it came from.
            self._taken.pop(job, None)
            _remember(self._waiting, job, self._pools.get(event.executor, DEFAULT_POOL))
        else:
            self._waiting.pop(job, None)
            _remember(self._taken, job, max(event.timestamp, self._taken.get(job, 0.0)))


def _remember(
    places: OrderedDict[str, float] | OrderedDict[str, str], job: str, value: object
) -> None:
    places[job] = value  # type: ignore[assignment]
    places.move_to_end(job)
    if len(places) > _REMEMBERED:
        places.popitem(last=False)


class JobsTopic:
    """Listens to the jobs topic, from a thread of its own, and tells `queued`.

    `problem` says in a sentence why waiting jobs are not known; empty while they are. Closing
    deletes the subscription.
    """

    def __init__(self, pubsub: PubSub, names: Names, queued: QueuedJobs) -> None:
        """Owns `pubsub` and closes it."""
        self.problem = ""
        self._id = f"{names.jobs}-watcher-{uuid.uuid4().hex[:12]}"
        self._pubsub = pubsub
        self._topic = names.jobs
        self._queued = queued
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="jobs-topic", daemon=True)

    def start(self) -> None:
        """Begin; returns when the subscription is there, or it is clear why not."""
        self._subscribe()
        self._thread.start()

    def close(self) -> None:
        """Delete the subscription. Idempotent; never raises."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._pubsub.cancel_pulls()
        try:
            self._pubsub.delete_subscription(self._id)
        except PortfireError as exc:
            logger.debug("subscription %s stays behind for a day: %s", self._id, exc)
        self._thread.join(timeout=5.0)
        self._pubsub.close()

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                self._receive()
            except NotFoundError:
                self._closed.wait(_RETRY_SECONDS)
                self._subscribe()
            except UsageError as exc:
                self.problem = str(exc)
                return
            except (PortfireError, ValueError) as exc:
                # ValueError is gRPC's word for a closed channel.
                self.problem = "" if self._closed.is_set() else str(exc)
                self._closed.wait(_RETRY_SECONDS)

    def _receive(self) -> None:
        received = self._pubsub.pull(self._id, _PULL_MESSAGES, _PULL_SECONDS)
        self.problem = ""
        for message in received:
            if job := message.attributes.get("job"):
                pool = message.attributes.get("pool") or DEFAULT_POOL
                self._queued.announced(job, pool, message.publish_time)
        if received:
            self._pubsub.acknowledge(self._id, [message.ack_id for message in received])

    def _subscribe(self) -> None:
        try:
            self._pubsub.create_subscription(self._id, self._topic, expire_after=EXPIRE_SECONDS)
            self.problem = ""
        except NotFoundError:
            self.problem = f"the topic {self._topic} is not there yet"
        except PortfireError as exc:
            self.problem = str(exc)
