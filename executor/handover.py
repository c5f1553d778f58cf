"""The handover: how a job's message leaves this executor, settled or for the next one."""

from __future__ import annotations

import logging

from executor.held_job import HeldJob, HeldJobs
from executor.outbox import Outbox
from messaging.errors import PortfireError
from messaging.leases import LeaseKeeper
from messaging.names import Names
from messaging.pubsub import Outgoing
from messaging.retries import with_deliveries

log = logging.getLogger(__name__)

#: Errors after which there is no point in trying again: all.
GIVE_UP = (PortfireError, ValueError)


class Handover:
    """Ends what this executor has to do with a job. Thread-safe; never blocks, never raises."""

    def __init__(self, names: Names, outbox: Outbox, keeper: LeaseKeeper, jobs: HeldJobs) -> None:
        self._names = names
        self._outbox = outbox
        self._keeper = keeper
        self._jobs = jobs

    def settle(self, held: HeldJob) -> None:
        """The result is safe: the message has done its work."""
        self._keeper.acknowledge(held.lease)
        self._jobs.remove(held)

    def let_go(self, held: HeldJob) -> None:
        """The job is somebody else's by now."""
        self._keeper.let_go(held.lease)
        self._jobs.remove(held)

    def pass_on(self, held: HeldJob) -> None:
        """Publish the job again with its deliveries so far, but this one."""
        data = held.message.data
        if held.silences:
            data = with_deliveries(data, held.silences)
        self.publish(held, Outgoing(data, held.message.attributes))

    def publish(self, held: HeldJob, message: Outgoing) -> None:
        """Publish the job again, as `message`, and be done with this delivery of it."""

        def not_published(error: Exception) -> None:
            text = "job %s given back by its lease only: %s"
            log.warning(text, held.id, error, extra=held.log_labels())
            self._keeper.give_back(held.lease)
            self._jobs.remove(held)

        held.passed_on = True
        self._outbox.send(
            self._names.jobs,
            message,
            on_sent=lambda: self.settle(held),
            on_failed=not_published,
            final=GIVE_UP,
        )
