"""Retries: whether a job that failed runs again, and when.

==============  =============================================  =============================
cause           how many times                                 pause, growing
==============  =============================================  =============================
infrastructure  the job's `retries`                            from 1 to 60 seconds
crash           its `max_attempts`, less 1; deaths of its      from 0.5 to 8 seconds
                executors count too
error           the job's `retries`                            from 0.5 to 8 seconds
memory          as its task has sizes                          none
==============  =============================================  =============================
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from executor.held_job import HeldJob
from messaging.pubsub import Outgoing
from messaging.retries import Cause, Failure, with_failure
from messaging.wire import MAX_MESSAGE_BYTES

#: First and longest pause by cause, in seconds. A crash or an error is rarely a matter of time.
_PAUSES: dict[Cause, tuple[float, float]] = {
    "infrastructure": (1.0, 60.0),
    "crash": (0.5, 8.0),
    "error": (0.5, 8.0),
    "memory": (0.0, 0.0),
}


@dataclass(frozen=True, slots=True)
class NextTry:
    """A job that is to run again."""

    message: Outgoing
    #: Seconds to wait before that is published.
    pause: float
    #: Why it runs again, and when.
    reason: str


def next_try(held: HeldJob, cause: Cause, failure: Failure) -> NextTry | None:
    """The try after this failure; None when that was the last, or the next message is too large."""
    before, allowed = _counts(held, cause)
    if before >= allowed:
        return None
    data = with_failure(held.message.data, failure, held.silences)
    message = Outgoing(data, held.message.attributes)
    if message.size > MAX_MESSAGE_BYTES:
        return None
    if cause == "memory":  # its reason says how it goes on
        return NextTry(message, 0.0, failure.reason)
    pause = pause_before(cause, before)
    how = f"it will run again in {pause:.1f} s ({cause}, retry {before + 1} of {allowed})"
    return NextTry(message, pause, f"{failure.reason}; {how}")


def pause_before(cause: Cause, before: int) -> float:
    """Seconds to wait after a failure of which there were so many before, with jitter: an outage
    meets many jobs at once.
    """
    first, longest = _PAUSES[cause]
    return min(first * 2.0 ** min(before, 30), longest) * random.uniform(0.5, 1.0)


def _counts(held: HeldJob, cause: Cause) -> tuple[int, int]:
    """How many failures of that kind there were before this one, and how many may be."""
    if cause == "memory":
        return 0, 1  # the task knows which of its sizes is the last
    if cause == "crash":
        return held.deaths, held.max_attempts - 1
    retries = held.job.retries
    allowed = retries.infrastructure if cause == "infrastructure" else retries.error
    return held.failures(cause), allowed
