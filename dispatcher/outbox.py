"""What the dispatcher sends: job messages and cancels."""

from __future__ import annotations

from collections.abc import Sequence

from messaging.names import Names
from messaging.pubsub import Outgoing, PubSub
from messaging.wire import MAX_MESSAGE_BYTES, Cancel, LaunchJob


class Outbox:
    """Publishes for one dispatcher. Thread-safe; raises what `PubSub.publish` raises."""

    def __init__(self, pubsub: PubSub, names: Names) -> None:
        self._pubsub = pubsub
        self._names = names

    def publish_jobs(self, jobs: Sequence[LaunchJob]) -> list[str]:
        """Publish job messages; their message ids, in order."""
        return self._pubsub.publish(self._names.jobs, [job_message(job) for job in jobs])

    def cancel(self, cancel: Cancel, executor: str | None = None) -> None:
        """Tell one executor, or all of them, to stop a job."""
        attributes = {"type": "cancel", "job": cancel.job}
        if executor is not None:
            attributes["executor"] = executor
        self._pubsub.publish(self._names.control, [Outgoing(cancel.encode(), attributes)])


def job_message(job: LaunchJob) -> Outgoing:
    """The Pub/Sub message of a launch."""
    return Outgoing(job.encode(), {"type": "launch", "job": job.job, "pool": job.pool})


def too_large(job: LaunchJob) -> str | None:
    """Why this job cannot be sent, or None."""
    size = job_message(job).size
    if size <= MAX_MESSAGE_BYTES:
        return None
    return (
        f"Firework {job.fw_id} is {size:,} bytes as a message, over Pub/Sub's limit of "
        f"{MAX_MESSAGE_BYTES:,}: keep large data in files and name them in the spec"
    )
