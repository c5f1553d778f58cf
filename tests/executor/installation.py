"""An installation on the embedded broker, as the tests see it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import events.types
from executor.held_job import HeldJob
from executor.settings import ExecutorSettings
from messaging.broker import Broker
from messaging.leases import Lease
from messaging.names import Names
from messaging.pubsub import Outgoing, PubSub, Received
from messaging.topology import ensure_dispatcher, ensure_pool
from messaging.wire import Cancel, Finished, LaunchJob, Update, decode_update
from tests.waiting import wait_until

LEASE_SECONDS = 10.0


def held(job: LaunchJob) -> HeldJob:
    """A job that an executor holds."""
    message = Received("ack", b"", {}, "message", 0.0, 1)
    return HeldJob(job, message, Lease("label", message, 0.0, 60.0))


class Installation:
    """Topics, the default pool, and all updates and events so far."""

    def __init__(self, broker: Broker, workdir: Path) -> None:
        self.broker = broker
        self.names = Names("portfire")
        self.workdir = workdir
        self.pubsub = PubSub("portfire-local", broker.address)
        self.updates: list[Update] = []
        self.events: list[dict[str, Any]] = []
        self.create()

    def create(self) -> None:
        """Make topics and subscriptions."""
        ensure_dispatcher(self.pubsub, self.names, "default", LEASE_SECONDS)
        ensure_pool(self.pubsub, self.names, "default", LEASE_SECONDS)
        # A response that is lost to a pull that had just given up comes again soon.
        watcher = self.names.watcher("test")
        self.pubsub.create_subscription(watcher, self.names.events, ack_deadline=10.0)

    def settings(self, **fields: Any) -> ExecutorSettings:
        """Settings of an executor here, of one thread unless told otherwise."""
        defaults: dict[str, Any] = {
            "emulator_host": self.broker.address,
            "threads": 1,
            "workdir": self.workdir,
            "lease_seconds": LEASE_SECONDS,
            "grace_seconds": 5.0,
        }
        return ExecutorSettings(**{**defaults, **fields})

    def submit(self, *jobs: LaunchJob) -> None:
        """Publish launch jobs as the dispatcher does."""
        self.send(*[Outgoing(j.encode(), {"pool": j.pool, "job": j.job}) for j in jobs])

    def send(self, *messages: Outgoing) -> None:
        """Publish anything to the jobs topic."""
        self.pubsub.publish(self.names.jobs, messages)

    def cancel(self, job: LaunchJob, reason: str = "defused") -> None:
        """Tell all executors to stop a job."""
        message = Cancel(job=job.job, attempt=job.attempt, reason=reason)
        self.pubsub.publish(self.names.control, [Outgoing(message.encode())])

    def finished(self, count: int = 1, timeout: float = 20.0) -> list[Finished]:
        """The first `count` finished updates, as soon as they are there."""
        self.wait(lambda: len(self._finished()) >= count, timeout, f"{count} finished updates")
        return self._finished()

    def update(self, kind: str, timeout: float = 20.0) -> Any:
        """The first update of that kind."""
        self.wait(lambda: self._of_kind(kind), timeout, f"update {kind}")
        return self._of_kind(kind)[0]

    def event(self, event_type: str, timeout: float = 20.0) -> dict[str, Any]:
        """The first event of that type."""
        self.wait(lambda: self.seen(event_type), timeout, f"event {event_type}")
        return self.seen(event_type)[0]

    def seen(self, event_type: str) -> list[dict[str, Any]]:
        """The events of that type so far."""
        return [event for event in self.events if event["type"] == event_type]

    def wait(self, condition: Callable[[], object], timeout: float, what: str) -> None:
        """Read updates and events until `condition` holds."""

        def look() -> object:
            self.read()
            return condition()

        wait_until(look, timeout, what)

    def read(self) -> None:
        """Take what has arrived."""
        for message in self.take(self.names.pool_updates("default")):
            self.updates.append(decode_update(message.data))
        for message in self.take(self.names.watcher("test")):
            self.events.append(events.types.decode(message.data).model_dump())

    def take(self, subscription: str, timeout: float = 0.25) -> list[Received]:
        """Pull and ack what is there."""
        messages = self.pubsub.pull(subscription, 1000, timeout)
        if messages:
            self.pubsub.acknowledge(subscription, [message.ack_id for message in messages])
        return messages

    def waiting_jobs(self, timeout: float = 0.5) -> list[Received]:
        """The jobs that an executor could take now; takes them."""
        return self.take(self.names.pool_jobs("default"), timeout)

    def _of_kind(self, kind: str) -> list[Update]:
        return [update for update in self.updates if update.update == kind]

    def _finished(self) -> list[Finished]:
        return [update for update in self.updates if isinstance(update, Finished)]
