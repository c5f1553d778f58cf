"""The dispatcher's parts as the tests use them, and the updates that executors would send."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from fireworks import Firework, FWAction, FWorker, LaunchPad, PyTask

from dispatcher.claims import Claims, Published
from dispatcher.daemon import Dispatcher
from dispatcher.held_launches import Claim, HeldLaunches
from dispatcher.journal import Holder
from dispatcher.launch_documents import Claimant
from dispatcher.settings import DispatcherSettings
from dispatcher.stored_workflow import WorkflowStore
from dispatcher.updates import Updates
from dispatcher.workflow_copy import WorkflowCopy
from messaging.pubsub import Received
from messaging.wire import Finished, LaunchJob, Ping, Released, Started, decode_job

State = Literal["COMPLETED", "FIZZLED"]
CLAIMANT = Claimant(prefix="tests", pool="default")
OWNER = "portfire/tests/default"
NOTHING = PyTask(func="time.sleep", args=[0])


def firework(name: str, **spec: Any) -> Firework:
    """A Firework that does nothing."""
    return Firework(NOTHING, spec=spec, name=name)


class Workbench:
    """Claims and updates on one LaunchPad, as one dispatcher has them."""

    def __init__(self, launchpad: LaunchPad, fworker: FWorker | None = None) -> None:
        self.launchpad = launchpad
        self.store = WorkflowStore(launchpad, Holder(OWNER, uuid.uuid4().hex))
        self.claimant = replace(CLAIMANT)
        self.held = HeldLaunches(launchpad, self.claimant)
        self.claims = Claims(launchpad, self.store, self.held, self.claimant, fworker or FWorker())
        self.updates = Updates(launchpad, self.store, self._claim_freed)
        #: What was claimed as soon as it was READY; only with `claims_freed`.
        self.freed: list[Claim] = []
        self.claims_freed = False

    def claim(self, limit: int = 100) -> list[Claim]:
        """Claim, as if published at once."""
        claims = self.claims.claim(limit)
        for claim in claims:
            self.publish(claim)
        return claims

    def take_freed(self) -> list[Claim]:
        """What was claimed as soon as it was READY, as if published now."""
        freed, self.freed = self.freed, []
        for claim in freed:
            self.publish(claim)
        return freed

    def _claim_freed(self, ready: Mapping[int, WorkflowCopy]) -> None:
        if self.claims_freed:
            self.freed += self.claims.claim_freed(ready, 100)

    def publish(self, claim: Claim, attempt: int = 1) -> None:
        """Record that an attempt was published."""
        message_id = f"message-{attempt}"
        self.claims.record_published(
            [Published(claim=claim, attempt=attempt, message_id=message_id)]
        )

    def firework(self, name: str) -> dict[str, Any]:
        """A Firework's document."""
        found: dict[str, Any] = self.launchpad.fireworks.find_one({"name": name})
        return found

    def launch(self, claim: Claim) -> dict[str, Any]:
        """A launch's document."""
        found: dict[str, Any] = self.launchpad.launches.find_one({"launch_id": claim.launch_id})
        return found

    def state(self, name: str) -> str:
        """A Firework's state, which its workflow must know."""
        document = self.firework(name)
        workflow = self.launchpad.workflows.find_one({"nodes": document["fw_id"]})
        assert workflow["fw_states"][str(document["fw_id"])] == document["state"]
        return str(document["state"])


def _who(claim: Claim, attempt: int) -> dict[str, Any]:
    return {
        "job": claim.job_id,
        "attempt": attempt,
        "launch_id": claim.launch_id,
        "executor": "executor-1",
    }


def _place() -> dict[str, Any]:
    return {"host": "worker", "ip": "10.0.0.1", "launch_dir": "/jobs/here"}


def started(claim: Claim, attempt: int = 1) -> Started:
    """It runs."""
    return Started(**_who(claim, attempt), **_place())


def ping(claim: Claim, attempt: int = 1, **fields: Any) -> Ping:
    """It still runs."""
    return Ping(**_who(claim, attempt), **fields)


def released(claim: Claim, attempt: int = 1) -> Released:
    """It was given back."""
    return Released(**_who(claim, attempt), reason="stopping")


def finished(
    claim: Claim, attempt: int = 1, state: State = "COMPLETED", action: Any = None
) -> Finished:
    """It ended; `action` is an FWAction or its document."""
    document = action if isinstance(action, dict) else (action or FWAction()).to_dict()
    return Finished(
        **_who(claim, attempt), **_place(), state=state, action=document, started=time.time() - 1.0
    )


class Running:
    """A dispatcher that runs in a thread."""

    def __init__(self, dispatcher: Dispatcher, settings: DispatcherSettings) -> None:
        self.dispatcher = dispatcher
        self.names = settings.names
        self.pubsub = settings.connect()
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop and wait. Idempotent."""
        self.dispatcher.stop()
        self.join()
        self.pubsub.close()

    def join(self, timeout: float = 20.0) -> None:
        """Wait for its own end."""
        self._thread.join(timeout)
        assert not self._thread.is_alive()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def pull(self, most: int = 100, timeout: float = 10.0) -> list[LaunchJob]:
        """Jobs, as an executor pulls them; acks them."""
        jobs = self.names.pool_jobs("default")
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if not self.pubsub.subscription_exists(jobs):
                time.sleep(0.02)  # the dispatcher is making it
                continue
            messages = self.pubsub.pull(jobs, most, max(0.05, deadline - time.monotonic()))
            if messages:
                self.pubsub.acknowledge(jobs, [message.ack_id for message in messages])
            return [_job(message) for message in messages]
        return []

    def _run(self) -> None:
        try:
            self.dispatcher.run()
        except BaseException as exc:  # noqa: BLE001 - the test looks at it
            self.failure = exc


def _job(message: Received) -> LaunchJob:
    job = decode_job(message.data)
    assert isinstance(job, LaunchJob)
    return job
