"""The intake: pulls as many jobs as slots wait for one, and hands them out.

Of very short jobs it pulls more (see `executor.appetite`). Those that no slot has taken up within
`WAIT_SECONDS`, because one proved to be longer, are published again for whoever is free; so are, at
once, all that came with a job that may have killed its process or its executor before.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable

from executor.appetite import Appetite
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
#: Seconds that a job waits at most for a slot of this executor.
WAIT_SECONDS = 0.5
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
        appetite: Appetite,
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
        self._appetite = appetite
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
        self._came_back = False
        self._pause = 0.0
        self._thread = threading.Thread(target=self._run, name="puller", daemon=True)

    def start(self) -> None:
        """Start pulling."""
        self._thread.start()

    @property
    def has_waiting(self) -> bool:
        """Whether there is more to do than the slots are doing, all of it short."""
        return bool(self._queue)

    def next(self) -> HeldJob | None:
        """Wait for a job; None when there will be no more."""
        with self._arrived:
            self._free += 1
            if self._free > len(self._queue):
                self._room.notify()
            self._arrived.wait_for(lambda: self._queue or self._stopping)
            self._free -= 1
            return self._queue.popleft() if self._queue and not self._stopping else None

    def ran(self, seconds: float) -> None:
        """A job has occupied its slot for so long."""
        self._appetite.ran(seconds)

    def stop(self, timeout: float = 5.0) -> None:
        """Take no more jobs, and pass on those that no slot has taken. Idempotent."""
        with self._room:
            self._stopping = True
            self._room.notify_all()
            self._arrived.notify_all()
        self._pubsub.cancel_pulls()
        if self._thread.is_alive():
            self._thread.join(timeout)
        self._pass_on()

    def _run(self) -> None:
        try:
            while free := self._wait_for_room():
                self._take_in(self._pull(self._appetite.wants(free)))
        except Exception:
            log.exception("the puller died")
            self._on_death("the puller died")

    def _wait_for_room(self) -> int:
        """The number of slots that wait for a job, at least 1; 0 at the end."""
        while True:
            with self._room:
                wanted = self._room.wait_for(self._is_wanted, self._seconds_to_wait())
                if wanted:
                    return 0 if self._stopping else self._free - len(self._queue)
            self._pass_on()

    def _is_wanted(self) -> bool:
        return self._stopping or self._free > len(self._queue)

    def _seconds_to_wait(self) -> float | None:
        """Until a job has waited for too long."""
        if not self._queue:
            return None
        return self._queue[0].arrived + WAIT_SECONDS - time.monotonic()

    def _pass_on(self, *, but_for_free_slots: bool = False) -> None:
        """Let others have what waits."""
        surplus = []
        with self._room:
            keep = self._free if but_for_free_slots else 0
            while len(self._queue) > keep:
                surplus.append(self._queue.pop())
        for held in reversed(surplus):
            if held.interruption is not None:
                self._reporter.report(held, held.interruption)
            else:
                self._reporter.pass_on(held)

    def _pull(self, wanted: int) -> list[Received]:
        try:
            messages = self._pubsub.pull(self._subscription, wanted, PULL_SECONDS)
        except PortfireError as exc:
            self._outage(exc)
            return []
        if self._failing:
            log.info("pulling jobs from %s again", self._subscription)
        self._failing, self._pause = False, 0.0
        self._appetite.got(wanted, len(messages))
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

    def _take_in(self, messages: list[Received]) -> None:
        for message in messages:
            self._accept(message)
        if self._came_back:
            # It may kill this executor: the fewer jobs share its fate, the better.
            self._came_back = False
            self._appetite.beware()
            self._pass_on(but_for_free_slots=True)

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
        self._came_back |= held.deaths > 0
        if held.deaths >= held.max_attempts:
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
