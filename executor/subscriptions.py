"""The two subscriptions that an executor needs, made when they are missing and it may."""

from __future__ import annotations

import logging

from executor.settings import ExecutorSettings
from executor.updates import UpdateWriter
from messaging.errors import NotFoundError, PortfireError
from messaging.pubsub import PubSub
from messaging.topology import ensure_control, ensure_executor

log = logging.getLogger(__name__)


class Subscriptions:
    """Of one executor: to its pool's jobs, and to control messages.

    Nothing here raises: without the right to create, or before the dispatcher has made the topics,
    the executor goes on asking for its subscriptions. Thread-safe.
    """

    def __init__(self, pubsub: PubSub, settings: ExecutorSettings, updates: UpdateWriter) -> None:
        self._pubsub = pubsub
        self._settings = settings
        self._updates = updates
        #: Subscription that the executors of the pool share.
        self.jobs = settings.names.pool_jobs(settings.pool)
        #: Subscription of this executor alone.
        self.control = settings.names.executor_control(settings.executor_id)

    def ensure(self) -> None:
        """Make what is missing."""
        self.ensure_jobs()
        if self._settings.control:
            self.ensure_control()

    def ensure_jobs(self) -> None:
        """Make the pool's subscription, and tell the dispatcher that jobs may have been lost."""
        settings = self._settings
        try:
            made = ensure_executor(
                self._pubsub, settings.names, settings.pool, settings.lease_seconds
            )
            if made:
                # Without a dispatcher there is no such topic: it will see for itself.
                self._pubsub.publish(settings.names.updates, [self._updates.pool_made()])
        except PortfireError as exc:
            _note(exc)

    def ensure_control(self) -> None:
        """Make the control subscription."""
        try:
            ensure_control(self._pubsub, self._settings.names, self._settings.executor_id)
        except PortfireError as exc:
            _note(exc)

    def remove_control(self) -> None:
        """Remove the control subscription at the executor's end; else it expires in a day."""
        if not self._settings.control:
            return
        try:
            self._pubsub.delete_subscription(self.control)
        except PortfireError as exc:
            log.debug("%s", exc)


def _note(error: PortfireError) -> None:
    # Before the first dispatcher starts there are no topics: that is no fault.
    level = logging.DEBUG if isinstance(error, NotFoundError) else logging.WARNING
    log.log(level, "%s", error)
