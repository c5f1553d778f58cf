"""Replies to raw jobs, on the topics that their senders named."""

from __future__ import annotations

import logging
from collections.abc import Callable

from executor.outbox import Outbox
from messaging.errors import NotFoundError, UsageError
from messaging.pubsub import Outgoing
from messaging.wire import MAX_MESSAGE_BYTES, Reply

log = logging.getLogger(__name__)


class Replies:
    """Sends replies through an outbox. Thread-safe; never blocks, never raises."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    def send(self, topic: str, reply: Reply, settle: Callable[[], None]) -> None:
        """Send it, and `settle` when it has arrived or when there is nobody to get it."""
        message = Outgoing(reply.encode(), {"job": reply.job})
        if message.size > MAX_MESSAGE_BYTES:
            text = f"the reply of {message.size:,} bytes is over Pub/Sub's limit: write to files"
            small = Reply(job=reply.job, exit_status=reply.exit_status, exceptions=[text])
            message = Outgoing(small.encode(), {"job": reply.job})

        def unanswered(error: Exception) -> None:
            if isinstance(error, (NotFoundError, UsageError)):
                log.warning("nobody to answer for job %s: %s", reply.job, error)
                settle()

        self._outbox.send(
            topic,
            message,
            on_sent=settle,
            on_failed=unanswered,
            final=(NotFoundError, UsageError),
        )
