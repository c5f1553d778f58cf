"""How the jobs that an executor holds come to their end when it stops."""

from __future__ import annotations

import threading

from executor.held_job import HeldJobs
from executor.outcome import Interrupted

_STOPPING = Interrupted(cause="stopping", reason="the executor stops")


def drain(jobs: HeldJobs, grace: float, kill_wanted: threading.Event) -> None:
    """Let jobs finish for `grace` seconds, or else interrupt, or else kill them.

    Who sets `kill_wanted` meanwhile, and wakes `jobs`, shortens all that. Results may still be on
    their way when this returns.
    """
    if jobs.wait_until_none(grace, unless=kill_wanted.is_set):
        return
    at_once = kill_wanted.is_set()
    _interrupt_all(jobs, 0.0 if at_once else None)
    patience = 0.0 if at_once else max((held.patience for held in jobs.all()), default=0.0)
    # While these jobs end, a second request to stop may come.
    done = jobs.wait_until_none(patience + 1.0, unless=kill_wanted.is_set)
    if not done and kill_wanted.is_set():
        _interrupt_all(jobs, 0.0)


def _interrupt_all(jobs: HeldJobs, patience: float | None) -> None:
    for held in jobs.all():
        held.interrupt(_STOPPING, patience)
