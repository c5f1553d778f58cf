"""Hears of jobs that were cancelled, and stops those that run here; and how its pool fares."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable

from executor.cancellations import Cancellations
from executor.held_job import HeldJob, HeldJobs
from executor.outcome import Interrupted
from executor.pool_news import PoolNews
from messaging.errors import MessageError, NotFoundError, PortfireError
from messaging.pubsub import PubSub, Received
from messaging.wire import Cancel, LaunchJob, PoolState, decode_control

log = logging.getLogger(__name__)

_PULL_SECONDS = 60.0
_PULL_MESSAGES = 100
_PAUSE_SECONDS = 5.0


class ControlListener:
    """One thread that pulls the executor's control subscription until `pubsub` cancels its pulls.

    Without it jobs run, but cannot be cancelled; so its outages stop nothing. `repair` is called
    when the subscription is missing; it may create it.
    """

    def __init__(
        self,
        pubsub: PubSub,
        *,
        subscription: str,
        jobs: HeldJobs,
        cancellations: Cancellations,
        news: PoolNews,
        repair: Callable[[], None],
    ) -> None:
        self._pubsub = pubsub
        self._subscription = subscription
        self._jobs = jobs
        self._cancellations = cancellations
        self._news = news
        self._repair = repair
        self._stopping = threading.Event()
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)

    def start(self) -> None:
        """Start listening."""
        self._thread.start()

    def stop(self, timeout: float = 5.0) -> None:
        """Stop listening; cancels all pulls of its connection."""
        self._stopping.set()
        self._pubsub.cancel_pulls()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._listen()
        except Exception:
            log.exception("the control listener died: jobs cannot be cancelled any more")

    def _listen(self) -> None:
        try:
            messages = self._pubsub.pull(self._subscription, _PULL_MESSAGES, _PULL_SECONDS)
            for message in messages:
                self._obey(message)
            if messages:
                self._pubsub.acknowledge(self._subscription, [m.ack_id for m in messages])
            elif not self._stopping.is_set():
                # A subscription whose topic was deleted stays silent, and must be made again.
                self._repair()
            self._failing = False
        except PortfireError as exc:
            if not self._failing and not self._stopping.is_set():
                log.warning("%s; until then jobs cannot be cancelled", exc)
            self._failing = True
            if isinstance(exc, NotFoundError):
                self._repair()
            self._stopping.wait(_PAUSE_SECONDS * random.uniform(0.5, 1.0))

    def _obey(self, message: Received) -> None:
        try:
            order = decode_control(message.data)
        except MessageError as exc:
            log.warning("ignored a control message: %s", exc)
            return
        if isinstance(order, PoolState):
            self._news.hear(order)
        else:
            self._cancel(order)

    def _cancel(self, cancel: Cancel) -> None:
        # First: a job that arrives at this moment must find it.
        self._cancellations.add(cancel)
        for held in self._jobs.all():
            if _is_meant(cancel, held):
                log.info("job %s cancelled: %s", held.id, cancel.reason)
                held.interrupt(Interrupted(cause="cancelled", reason=cancel.reason))


def _is_meant(cancel: Cancel, held: HeldJob) -> bool:
    """That job, in this attempt or an older one; raw jobs have only one."""
    if cancel.job != held.id:
        return False
    return not isinstance(held.job, LaunchJob) or held.attempt <= cancel.attempt
