"""The intake: pulls exactly as many jobs as slots wait for one, and hands them out."""

from __future__ import annotations

import logging
import random
import threading
from collections import deque
from collections.abc import Callable

from executor.cancellations import Cancellations
from executor.held_job import HeldJob, HeldJobs, key_of
from executor.outcome import Interrupted
from executor.reply_topic import reply_topic
from executor.report import Reporter
from messaging.errors import MessageError, NotFoundError, PortfireError
from messaging.leases import LeaseKeeper
from messaging.names import belongs_to_pool
from messaging.pubsub import PubSub, Received
from messaging.wire import LaunchJob, decode_job

log = logging.getLogger(__name__)

#: Seconds that one pull waits for a job. Long, for a message that the service was just sending
#: when a pull ends is delayed until its first lease runs out.
PULL_SECONDS = 60.0
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 15.0


class Intake:
    """One thread that pulls; slots take jobs by `next`. A slot that waits there *is* a free slot.

    `repair` is called when the subscription is missing; it may create it.
    """

    def __init__(
        self,
        pubsub: PubSub,
        *,
        subscription: str,
        pool: str,
        keeper: LeaseKeeper,
        jobs: HeldJobs,
        cancellations: Cancellations,
        reporter: Reporter,
        repair: Callable[[], None],
        on_death: Callable[[str], None],
    ) -> None:
        self._pubsub = pubsub
        self._subscription = subscription
        self._pool = pool
        self._keeper = keeper
        self._jobs = jobs
        self._cancellations = cancellations
        self._reporter = reporter
        self._repair = repair
        self._on_death = on_death
        lock = threading.Lock()  # guards what follows
        #: Notified when a slot has become free, and at the end.
        self._room = threading.Condition(lock)
        #: Notified when there is a job, and at the end.
        self._arrived = threading.Condition(lock)
        self._queue: deque[HeldJob] = deque()
        self._free = 0
        self._stopping = False
        self._failing = False
        self._pause = 0.0
        self._thread = threading.Thread(target=self._run, name="puller", daemon=True)

    def start(self) -> None:
        """Start pulling."""
        self._thread.start()

    def next(self) -> HeldJob | None:
        """Wait for a job; None when there will be no more."""
        with self._arrived:
            self._free += 1
            self._room.notify()
            self._arrived.wait_for(lambda: self._queue or self._stopping)
            self._free -= 1
            return self._queue.popleft() if self._queue and not self._stopping else None

    def stop(self, timeout: float = 5.0) -> None:
        """Take no more jobs, and give back at once those that no slot has taken. Idempotent."""
        with self._room:
            self._stopping = True
            self._room.notify_all()
            self._arrived.notify_all()
        self._pubsub.cancel_pulls()
        if self._thread.is_alive():
            self._thread.join(timeout)
        with self._room:
            waiting, self._queue = list(self._queue), deque()
        for held in waiting:
            self._keeper.give_back(held.lease)
            self._jobs.remove(held)

    def _run(self) -> None:
        try:
            while free := self._wait_for_room():
                for message in self._pull(free):
                    self._accept(message)
        except Exception:
            log.exception("the puller died")
            self._on_death("the puller died")

    def _wait_for_room(self) -> int:
        """The number of slots that wait for a job, at least 1; 0 at the end."""
        with self._room:
            self._room.wait_for(lambda: self._stopping or self._free > len(self._queue))
            return 0 if self._stopping else self._free - len(self._queue)

    def _pull(self, free: int) -> list[Received]:
        try:
            messages = self._pubsub.pull(self._subscription, free, PULL_SECONDS)
        except PortfireError as exc:
            self._outage(exc)
            return []
        if self._failing:
            log.info("pulling jobs from %s again", self._subscription)
        self._failing, self._pause = False, 0.0
        return messages

    def _outage(self, error: PortfireError) -> None:
        """One line per outage, then wait; with jitter, for a fleet is cut off all at once."""
        if not self._failing:
            log.warning("%s; trying again", error)
        self._failing = True
        if isinstance(error, NotFoundError):
            self._repair()
        self._pause = min(max(_FIRST_PAUSE, self._pause * 2), _LONGEST_PAUSE)
        with self._room:
            wait = self._pause * random.uniform(0.5, 1.0)
            self._room.wait_for(lambda: self._stopping, wait)

    def _accept(self, message: Received) -> None:
        if not belongs_to_pool(message.attributes, self._pool):
            # Only servers that ignore filters deliver these; the pool has its own copy.
            self._keeper.acknowledge_message(message)
            return
        reply_to = None
        try:
            reply_to = reply_topic(message.attributes, self._pubsub.project)
            job = decode_job(message.data)
        except MessageError as exc:
            self._reporter.reject(message, str(exc), reply_to)
            return
        known = self._jobs.find(key_of(job, message))
        if known is not None and not _is_copy(message, known):
            # We are at it: the second delivery keeps the first alive, and is settled with it.
            if not self._keeper.adopt(known.lease, message):
                self._keeper.give_back_message(message)
            return
        self._hold(HeldJob(job, message, self._keeper.hold(_label(message), message)))

    def _hold(self, held: HeldJob) -> None:
        self._jobs.add(held)
        if held.message.delivery_attempt > held.max_attempts:
            self._reporter.deliver_no_more(held)
            return
        if isinstance(held.job, LaunchJob) and (reason := self._cancellations.reason(held.job)):
            self._reporter.report(held, Interrupted(cause="cancelled", reason=reason))
            return
        with self._arrived:
            self._queue.append(held)
            self._arrived.notify()


def _is_copy(message: Received, known: HeldJob) -> bool:
    """Whether this is a job that was passed on, to be acked soon, come back as a new message."""
    return known.passed_on and message.message_id != known.message.message_id


def _label(message: Received) -> str:
    return message.attributes.get("job") or message.message_id
