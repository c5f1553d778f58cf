"""Reports: the one place that turns a job's outcome into its update, its events and its ack.

==================  ==============================  ===================  ===========================
outcome             update or reply                 event                message
==================  ==============================  ===================  ===========================
ended               finished / reply                job.finished         acked
outage: retry       released                        job.released         given back (it counts)
outage: fizzle      finished FIZZLED / reply        job.finished         acked
out of memory, has  released                        job.released         published again with its
a larger size                                                            next size, then acked
stopping            released                        job.released         published again, then acked
cancelled           none / reply                    job.cancelled        acked
lease lost          none                            job.released         left alone
child died: retry   released                        job.released         given back (it counts)
child died: fizzle  finished FIZZLED / reply        job.finished         acked
cannot start here   released                        job.released         published again, then acked
not taken up        none                            none                 published again, then acked
no job at all       finished FIZZLED / reply, if    job.rejected         acked
                    it says whose it is
==================  ==============================  ===================  ===========================

Order: the event is queued, the update is confirmed by Pub/Sub, the message is acked; so a crash at
any point makes a job run again, and never loses its result. The lease is kept all the while.

A job that was stopped for the executor's own reasons is *published again* and not nacked: Pub/Sub
counts a nack as a delivery attempt and delays the next one; a soft stop shall cost neither.

An outage, like a dead process, is tried again until the job's ``max_attempts``; a job that was told
to stop meanwhile is reported as stopped.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from typing import Any, Literal

from events.publisher import EventPublisher
from executor.held_job import HeldJob, HeldJobs
from executor.outbox import Outbox
from executor.outcome import (
    ChildDied,
    Interrupted,
    LaunchEnded,
    Outcome,
    RawEnded,
    fizzled,
    given_up,
)
from executor.replies import Replies
from executor.updates import UpdateWriter
from messaging.errors import NotFoundError, PortfireError, UsageError
from messaging.leases import LeaseKeeper
from messaging.names import Names
from messaging.pubsub import Outgoing, Received
from messaging.wire import (
    MAX_MESSAGE_BYTES,
    LaunchJob,
    Reply,
    with_deliveries,
    with_next_memory_step,
)

log = logging.getLogger(__name__)

#: Errors after which there is no point in trying again: all.
_GIVE_UP = (PortfireError, ValueError)

Policy = Literal["fizzle", "retry"]


class Reporter:
    """Reports what becomes of jobs. Thread-safe; never blocks, never raises."""

    def __init__(
        self,
        *,
        updates: UpdateWriter,
        names: Names,
        events: EventPublisher,
        outbox: Outbox,
        keeper: LeaseKeeper,
        jobs: HeldJobs,
        on_child_death: Policy = "retry",
        on_outage: Policy = "retry",
    ) -> None:
        self._names = names
        self._events = events
        self._outbox = outbox
        self._replies = Replies(outbox)
        self._keeper = keeper
        self._jobs = jobs
        self._on_child_death = on_child_death
        self._on_outage = on_outage
        self._updates = updates
        #: Guards `HeldJob.reported`: no ping goes after a job's end, to be taken for a start.
        self._ending = threading.Lock()

    def event(self, held: HeldJob, event_type: str, **fields: Any) -> None:
        """Publish an event about a job."""
        self._events.publish(event_type, **{**held.event_fields(), **fields})

    def started(self, held: HeldJob) -> None:
        """A slot has taken up the job."""
        queued = max(0.0, held.started - held.message.publish_time)
        self.event(held, "job.started", queued=queued, timestamp=held.started)
        log.info("job %s started: %s", held.id, held.name, extra=held.log_labels())
        if isinstance(held.job, LaunchJob):
            # Most short jobs end before this has gone; what they send then says it all.
            message = self._updates.started(held, held.job)
            self._outbox.send_later(_started_key(held), self._names.updates, message)

    def ping(self, held: HeldJob) -> None:
        """The launch still runs; lost pings are no loss."""
        if isinstance(held.job, LaunchJob) and held.started:
            message = self._updates.ping(held, held.job)
            if message.size < MAX_MESSAGE_BYTES:
                with self._ending:
                    if not held.reported:
                        self._outbox.send(self._names.updates, message, final=_GIVE_UP)

    def report(self, held: HeldJob, outcome: Outcome) -> None:
        """The job has this outcome."""
        with self._ending:
            held.reported = True
        self._outbox.withdraw(_started_key(held))
        if isinstance(outcome, LaunchEnded | RawEnded):
            self._ended(held, outcome)
        elif isinstance(outcome, Interrupted):
            self._interrupted(held, outcome)
        elif isinstance(outcome, ChildDied):
            self._child_died(held, outcome)
        else:
            self._release(held, outcome.reason)

    def deliver_no_more(self, held: HeldJob) -> None:
        """The job came back too often."""
        self._failed(
            held,
            f"delivered {held.deliveries - 1} times without a result: it probably kills its "
            "executors (out of memory?); look at the executors' logs, then rerun it",
        )

    def pass_on(self, held: HeldJob) -> None:
        """No slot has taken the job up: whoever is free shall have it. That is no attempt."""
        with self._ending:
            held.reported = True
        data, before = held.message.data, held.deliveries - 1
        if before > 0:
            data = with_deliveries(data, before)
        self._copy(held, Outgoing(data, held.message.attributes))

    def reject(self, message: Received, reason: str, reply_to: str | None) -> None:
        """The message is no job: say so to everybody who may want to know, and be rid of it."""
        log.warning("rejected message %s: %s", message.message_id, reason)
        body = _json_object(message.data)
        job = str(message.attributes.get("job") or body.get("job") or "")
        self._events.publish("job.rejected", id=job, reason=reason)
        if reply_to:
            reply = Reply(job=job, exceptions=[reason])
            self._replies.send(reply_to, reply, lambda: self._keeper.acknowledge_message(message))
        elif update := self._updates.rejected(job, body, reason):
            self._outbox.send(
                self._names.updates,
                update,
                on_sent=lambda: self._keeper.acknowledge_message(message),
            )
        else:
            self._keeper.acknowledge_message(message)

    def _ended(self, held: HeldJob, ended: LaunchEnded | RawEnded) -> None:
        if ended.retry and held.interruption is not None:
            self._interrupted(held, held.interruption)
        elif ended.retry == "memory":
            self._give_more_memory(held, ended)
        elif ended.retry == "infrastructure":
            self._outage(held, ended)
        else:
            self._settle_end(held, ended)

    def _settle_end(self, held: HeldJob, ended: LaunchEnded | RawEnded) -> None:
        if isinstance(ended, LaunchEnded):
            self._launch_ended(held, ended)
        else:
            self._raw_ended(held, ended)

    def _give_more_memory(self, held: HeldJob, ended: LaunchEnded | RawEnded) -> None:
        job = Outgoing(with_next_memory_step(held.message.data), held.message.attributes)
        if job.size > MAX_MESSAGE_BYTES:
            self._settle_end(held, ended)
        else:
            log.warning("job %s: %s", held.id, ended.reason, extra=held.log_labels())
            self._release(held, ended.reason or "out of memory", job)

    def _outage(self, held: HeldJob, ended: LaunchEnded | RawEnded) -> None:
        if not self._runs_again(held, ended.reason or "an outage", self._on_outage):
            self._settle_end(held, given_up(ended, held.deliveries))

    def _launch_ended(self, held: HeldJob, ended: LaunchEnded) -> None:
        assert isinstance(held.job, LaunchJob)
        message = self._updates.finished(held, held.job, ended)
        if message.size > MAX_MESSAGE_BYTES:
            ended = fizzled(
                f"the result of {message.size:,} bytes is over Pub/Sub's limit of "
                f"{MAX_MESSAGE_BYTES:,}: write large data to files and store their names in the "
                "FWAction"
            )
            message = self._updates.finished(held, held.job, ended)
        self._finished(held, ended.state, ended)
        self._outbox.send(self._names.updates, message, on_sent=lambda: self._settled(held))

    def _raw_ended(self, held: HeldJob, ended: RawEnded) -> None:
        state = "FAILED" if ended.reason else "COMPLETED"
        self._finished(held, state, ended)
        self._reply(held, ended.reply)

    def _finished(self, held: HeldJob, state: str, ended: LaunchEnded | RawEnded) -> None:
        self.event(held, "job.finished", state=state, phase=ended.phase, reason=ended.reason)
        why = f": {ended.reason}" if ended.reason else ""
        log.info("job %s %s%s", held.id, state, why, extra=held.log_labels())

    def _interrupted(self, held: HeldJob, outcome: Interrupted) -> None:
        if outcome.cause == "cancelled":
            self.event(held, "job.cancelled", reason=outcome.reason)
            self._reply(held, Reply(job=held.id, exceptions=[f"cancelled: {outcome.reason}"]))
        elif outcome.cause == "lease lost":
            self.event(held, "job.released", reason=outcome.reason)
            self._keeper.let_go(held.lease)
            self._jobs.remove(held)
        else:
            self._release(held, outcome.reason)

    def _child_died(self, held: HeldJob, outcome: ChildDied) -> None:
        reason = f"the job's process was lost: it {outcome.how}"
        if not self._runs_again(held, reason, self._on_child_death):
            hint = " (out of memory?)" if "SIGKILL" in outcome.how else ""
            self._failed(held, f"{reason}{hint}", phase="execution")

    def _runs_again(self, held: HeldJob, reason: str, policy: Policy) -> bool:
        """Give the job back as one more attempt, unless that was its last."""
        attempts = held.deliveries
        # Without a dead-letter policy nobody counts (0): such a job would run for ever.
        if policy != "retry" or not 0 < attempts < held.max_attempts:
            return False
        reason += f"; delivery {attempts} of {held.max_attempts}, it will run again"
        log.warning("job %s: %s", held.id, reason, extra=held.log_labels())
        self._released(held, reason, lambda: self._give_back(held))
        return True

    def _failed(self, held: HeldJob, reason: str, phase: str = "job") -> None:
        """The job ends here, without a result of its own."""
        log.warning("job %s failed: %s", held.id, reason, extra=held.log_labels())
        if isinstance(held.job, LaunchJob):
            self._launch_ended(held, fizzled(reason, phase=phase))
        else:
            reply = Reply(job=held.id, exceptions=[reason])
            self._raw_ended(held, RawEnded(reply=reply, phase=phase, reason=reason))

    def _release(self, held: HeldJob, reason: str, job: Outgoing | None = None) -> None:
        """Give the job back (in another form: `job`) without counting it as an attempt."""
        message = job or Outgoing(held.message.data, held.message.attributes)
        self._released(held, reason, lambda: self._copy(held, message))

    def _copy(self, held: HeldJob, message: Outgoing) -> None:
        """Publish the job again, and be done with this delivery of it."""

        def not_copied(error: Exception) -> None:
            text = "job %s given back by its lease only: %s"
            log.warning(text, held.id, error, extra=held.log_labels())
            self._give_back(held)

        held.passed_on = True
        self._outbox.send(
            self._names.jobs,
            message,
            on_sent=lambda: self._settled(held),
            on_failed=not_copied,
            final=_GIVE_UP,
        )

    def _give_back(self, held: HeldJob) -> None:
        self._keeper.give_back(held.lease)
        self._jobs.remove(held)

    def _released(self, held: HeldJob, reason: str, then: Callable[[], None]) -> None:
        """Say so, and `then` pass it on: its next executor's updates must come after ours."""
        self.event(held, "job.released", reason=reason)
        log.info("job %s given back: %s", held.id, reason, extra=held.log_labels())
        if not isinstance(held.job, LaunchJob):
            then()
            return
        self._outbox.send(
            self._names.updates,
            self._updates.released(held.job, reason),
            on_sent=then,
            on_failed=lambda _error: then(),
            final=(NotFoundError, UsageError),  # without a dispatcher the job goes on all the same
        )

    def _reply(self, held: HeldJob, reply: Reply) -> None:
        """Answer a raw job, if its sender wants an answer, and settle it."""
        reply_to = held.message.attributes.get("reply_to")
        if isinstance(held.job, LaunchJob) or not reply_to:
            self._settled(held)
        else:
            self._replies.send(reply_to, reply, lambda: self._settled(held))

    def _settled(self, held: HeldJob) -> None:
        """The result is safe: the message has done its work."""
        self._keeper.acknowledge(held.lease)
        self._jobs.remove(held)


def _started_key(held: HeldJob) -> str:
    return f"{held.id}/{held.attempt}"


def _json_object(data: bytes) -> dict[str, Any]:
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}
