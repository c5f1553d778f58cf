"""Reads what is delivered to a dispatcher: updates, and jobs that Pub/Sub gave up on."""

from __future__ import annotations

import logging
import time

from dispatcher.counts import Counts
from dispatcher.receiver import Delivery
from messaging.errors import MessageError
from messaging.failures import failure_action
from messaging.names import Names, belongs_to_pool
from messaging.wire import Finished, LaunchJob, Update, decode_job, decode_update

log = logging.getLogger(__name__)

#: What stands for an executor where the dispatcher itself decided.
DISPATCHER = "dispatcher"


class Reader:
    """Reads the messages for one pool."""

    def __init__(self, names: Names, pool: str, counts: Counts) -> None:
        self._pool = pool
        self._dead_jobs = names.pool_dead_jobs(pool)
        self._counts = counts

    def read(self, delivery: Delivery) -> Update | None:
        """The update in a message; None when there is none in it, which is logged and counted."""
        if not belongs_to_pool(delivery.message.attributes, self._pool):
            # Only servers that ignore filters deliver these; the pool has its own copy.
            return None
        try:
            if delivery.subscription == self._dead_jobs:
                return _dead_letter(decode_job(delivery.message.data))
            return decode_update(delivery.message.data)
        except MessageError as exc:
            self._counts.unreadable += 1
            log.error(
                "dropped message %s from %s: %s",
                delivery.message.message_id,
                delivery.subscription,
                exc,
            )
            return None


def _dead_letter(job: LaunchJob | object) -> Finished:
    """The end of a job that Pub/Sub gave up on."""
    if not isinstance(job, LaunchJob):
        raise MessageError("a raw job was given up by Pub/Sub after its last delivery attempt")
    return ended_by_dispatcher(
        job.job,
        job.launch_id,
        job.attempt,
        "Pub/Sub gave up on the job: it was delivered again and again without a result; "
        "look for executors that die, then `lpad rerun_fws`",
    )


def ended_by_dispatcher(job: str, launch_id: int, attempt: int, reason: str) -> Finished:
    """A FIZZLED update for a job that no executor can run, with the reason in its stored data."""
    now = time.time()
    return Finished(
        job=job,
        attempt=attempt,
        launch_id=launch_id,
        executor=DISPATCHER,
        timestamp=now,
        started=now,
        state="FIZZLED",
        action=failure_action(reason),
        host="",
        ip="",
        launch_dir="",
    )
