"""How the jobs that an executor holds come to their end when it stops."""

from __future__ import annotations

import time
from collections.abc import Callable

from executor.held_job import HeldJobs
from executor.outcome import Interrupted
from executor.stopping import StopRequest, Urgency

_STOPPING = Interrupted(cause="stopping", reason="the executor stops")
_PREEMPTED = Interrupted(cause="stopping", reason="the executor's VM is preempted")
#: Seconds from asking a job to stop until it is killed, on a VM that goes. With removing its
#: container and giving it back it must be less than 10, for there is no more than that for certain.
PREEMPTED_PATIENCE = 4.0
#: Seconds; longer than any job.
_FOR_EVER = 1e9


def drain(
    jobs: HeldJobs, grace: float, request: StopRequest, on_urgent: Callable[[], None]
) -> None:
    """Let jobs finish as the request's urgency has it, or else interrupt, or else kill them.

    A request that becomes more urgent meanwhile, after which `jobs` must be woken, shortens all
    that; `on_urgent` is called when it turns out meanwhile that the machine is about to go. Results
    may still be on their way when this returns.
    """
    began = request.urgency
    done = _let_finish(jobs, grace, request)
    if began < request.urgency is Urgency.PREEMPTED:
        on_urgent()
    while not done:
        urgency = request.urgency
        patience = _patience(urgency)
        _interrupt_all(jobs, _PREEMPTED if urgency is Urgency.PREEMPTED else _STOPPING, patience)
        if urgency is Urgency.AT_ONCE:
            return
        longest = max((held.patience for held in jobs.all()), default=0.0)
        done = _wait(jobs, 1.0 + (longest if patience is None else patience), request, urgency)
        if request.urgency is urgency:
            return


def _let_finish(jobs: HeldJobs, grace: float, request: StopRequest) -> bool:
    """Whether no job is left; else it is time to interrupt those that are."""
    done = False
    if request.urgency is Urgency.WHEN_DONE:
        done = _wait(jobs, _FOR_EVER, request, Urgency.WHEN_DONE)
    if not done and request.urgency is Urgency.SOFT:
        done = _wait(jobs, grace, request, Urgency.SOFT)
    return done


def _wait(jobs: HeldJobs, seconds: float, request: StopRequest, urgency: Urgency) -> bool:
    """Until there are no jobs, the request becomes more urgent, or the time is over."""
    deadline = time.monotonic() + seconds
    # In parts, for what waits cannot wait for years at once.
    while (left := deadline - time.monotonic()) > 0:
        if jobs.wait_until_none(min(left, 3600.0), unless=lambda: request.urgency > urgency):
            return True
        if request.urgency > urgency:
            return False
    return jobs.wait_until_none(0.0)


def _patience(urgency: Urgency) -> float | None:
    """Seconds that every job has to stop; None: each its own."""
    return {Urgency.PREEMPTED: PREEMPTED_PATIENCE, Urgency.AT_ONCE: 0.0}.get(urgency)


def _interrupt_all(jobs: HeldJobs, why: Interrupted, patience: float | None) -> None:
    for held in jobs.all():
        held.interrupt(why, patience)
