"""Reports: the one place that turns a job's outcome into its update, its events and its ack.

==================  ==============================  ===================  ===========================
outcome             update or reply                 event                message
==================  ==============================  ===================  ===========================
went well           finished / reply                job.finished         acked
failed, has another released                        job.released         after a pause published
try                                                                      again with the failure in
                                                                         its history, then acked
failed for good     finished FIZZLED / reply, with  job.finished         acked
                    all failures
stopping            released                        job.released         published again, then acked
cancelled           none / reply                    job.cancelled        acked
lease lost          none                            job.released         left alone
cannot start here   released                        job.released         published again, then acked
not taken up        none                            none                 published again, then acked
no job at all       finished FIZZLED / reply, if    job.rejected         acked
                    it says whose it is
==================  ==============================  ===================  ===========================

Order: the event is queued, the update is confirmed by Pub/Sub, the message is acked; so a crash at
any point makes a job run again, and never loses its result. The lease is kept all the while.

Nothing is nacked: Pub/Sub counts a nack as a delivery attempt and delays the next one. A soft stop
shall cost neither, and a failure is counted by the message itself (`executor.retrying`): deliveries
count only what died without a word. A job that was told to stop, and failed for want of
infrastructure or memory meanwhile, is reported as stopped.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Literal

from events.publisher import EventPublisher
from executor.backoff import Backoff
from executor.failures import shortened
from executor.handover import GIVE_UP, Handover
from executor.held_job import HeldJob, HeldJobs
from executor.outbox import Outbox
from executor.outcome import (
    ChildDied,
    Ended,
    Interrupted,
    LaunchEnded,
    Outcome,
    RawEnded,
    failed,
    fizzled,
    given_up,
)
from executor.replies import Replies
from executor.retrying import NextTry, next_try
from executor.updates import UpdateWriter
from messaging.errors import NotFoundError, UsageError
from messaging.leases import LeaseKeeper
from messaging.names import Names
from messaging.pubsub import Outgoing, Received
from messaging.retries import Cause, Failure
from messaging.wire import MAX_MESSAGE_BYTES, LaunchJob, Reply

log = logging.getLogger(__name__)

#: Characters of a failure's reason that the job's later messages carry.
_REASON_LENGTH = 300

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
        backoff: Backoff,
        on_child_death: Policy = "retry",
        on_outage: Policy = "retry",
    ) -> None:
        self._names = names
        self._events = events
        self._outbox = outbox
        self._replies = Replies(outbox)
        self._keeper = keeper
        self._jobs = jobs
        self._backoff = backoff
        policies: dict[Cause, Policy] = {"crash": on_child_death, "infrastructure": on_outage}
        #: Causes of which no job runs again here.
        self._final = {cause for cause, policy in policies.items() if policy == "fizzle"}
        self._handover = Handover(names, outbox, keeper, jobs)
        self._updates = updates
        #: Guards `HeldJob.reported`: no ping goes after a job's end, to be taken for a start.
        self._ending = threading.Lock()

    def event(self, held: HeldJob, event_type: str, **fields: Any) -> None:
        """Publish an event about a job."""
        self._events.publish(event_type, **(held.event_fields() | fields))

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
                        self._outbox.send(self._names.updates, message, final=GIVE_UP)

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
            self._crashed(held, outcome)
        else:
            self._release(held, outcome.reason)

    def deliver_no_more(self, held: HeldJob) -> None:
        """The job came back too often."""
        reason = (
            f"delivered {held.deaths} times without a result: it probably kills its executors "
            "(out of memory?); look at the executors' logs, then rerun it"
        )
        log.warning("job %s failed: %s", held.id, reason, extra=held.log_labels())
        ended = failed(held.job, held.id, reason, "job")
        self._settle_end(held, given_up(ended, held.job.history, held.silences))

    def pass_on(self, held: HeldJob) -> None:
        """No slot has taken the job up: whoever is free shall have it. That is no attempt."""
        with self._ending:
            held.reported = True
        self._handover.pass_on(held)

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

    def _ended(self, held: HeldJob, ended: Ended) -> None:
        if ended.reason is None:
            self._settle_end(held, ended)
        else:
            self._failed(held, ended.retry or "error", ended)

    def _crashed(self, held: HeldJob, outcome: ChildDied) -> None:
        hint = " (out of memory?)" if "SIGKILL" in outcome.how else ""
        reason = f"the job's process was lost: it {outcome.how}{hint}"
        self._failed(held, "crash", failed(held.job, held.id, reason, "execution"))

    def _failed(self, held: HeldJob, cause: Cause, ended: Ended) -> None:
        """A try failed: the job runs again if it has another, and else it ends."""
        failure = Failure(
            executor=self._updates.executor,
            cause=cause,
            reason=shortened(ended.reason or "", _REASON_LENGTH),
            time=time.time(),
        )
        again = None if cause in self._final else next_try(held, cause, failure)
        if held.interruption is not None and (again is not None or ended.retry):
            self._interrupted(held, held.interruption)
        elif again is None:
            self._settle_end(held, given_up(ended, [*held.job.history, failure], held.silences))
        else:
            log.warning("job %s: %s", held.id, again.reason, extra=held.log_labels())
            self._try_again(held, again)

    def _try_again(self, held: HeldJob, again: NextTry) -> None:
        self._jobs.rest(held)
        self._released(
            held,
            again.reason,
            lambda: self._backoff.after(again.pause, lambda: self._rested(held, again.message)),
        )

    def _rested(self, held: HeldJob, message: Outgoing) -> None:
        why = held.interruption
        if why is not None and why.cause != "stopping":
            self._interrupted(held, why)
        else:
            self._handover.publish(held, message)

    def _settle_end(self, held: HeldJob, ended: Ended) -> None:
        if isinstance(ended, LaunchEnded):
            self._launch_ended(held, ended)
        else:
            self._raw_ended(held, ended)

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
        self._outbox.send(self._names.updates, message, on_sent=lambda: self._handover.settle(held))

    def _raw_ended(self, held: HeldJob, ended: RawEnded) -> None:
        state = "FAILED" if ended.reason else "COMPLETED"
        self._finished(held, state, ended)
        self._reply(held, ended.reply)

    def _finished(self, held: HeldJob, state: str, ended: LaunchEnded | RawEnded) -> None:
        failure = {"phase": ended.phase, "reason": ended.reason} if ended.reason else {}
        self.event(held, "job.finished", state=state, **failure)
        why = f": {ended.reason}" if ended.reason else ""
        log.info("job %s %s%s", held.id, state, why, extra=held.log_labels())

    def _interrupted(self, held: HeldJob, outcome: Interrupted) -> None:
        if outcome.cause == "cancelled":
            self.event(held, "job.cancelled", reason=outcome.reason)
            self._reply(held, Reply(job=held.id, exceptions=[f"cancelled: {outcome.reason}"]))
        elif outcome.cause == "lease lost":
            self.event(held, "job.released", reason=outcome.reason)
            self._handover.let_go(held)
        else:
            self._release(held, outcome.reason)

    def _release(self, held: HeldJob, reason: str) -> None:
        """Give the job back without counting it as an attempt."""
        message = Outgoing(held.message.data, held.message.attributes)
        self._released(held, reason, lambda: self._handover.publish(held, message))

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
            self._handover.settle(held)
        else:
            self._replies.send(reply_to, reply, lambda: self._handover.settle(held))


def _started_key(held: HeldJob) -> str:
    return f"{held.id}/{held.attempt}"


def _json_object(data: bytes) -> dict[str, Any]:
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}
