"""How a task reaches its surroundings: who it is, its storage, its events and its lease.

A slot's child process wraps each job in `use_context`; a task asks `current_context`. A task that
runs without an executor (plain ``rlaunch``) gets a standalone context, so that the same Firework
runs in both places.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

DEFAULT_TIMEOUT = 3600.0


class JobContext(ABC):
    """What a running job may ask of its executor. Used from the job's main thread only."""

    #: Correlation id of the job.
    job: str
    #: The how-manieth claim of this job, from 1.
    attempt: int
    #: Id of the executor.
    executor: str
    #: Slot of the executor, for metrics.
    thread: str | int = ""
    #: Storage backend of jobs that name none.
    storage: str
    #: Options of that backend (``workdir``, ...); a job's own options go over these.
    storage_options: Mapping[str, Any]
    #: Seconds that a program or container may run if its task names no timeout.
    default_timeout: float

    @abstractmethod
    def emit(self, event_type: str, **fields: Any) -> None:
        """Publish an event about this job; never blocks, never raises."""

    @abstractmethod
    def confirm_lease(self) -> None:
        """Return if this attempt may still store outputs; asked once, right before stage-out.

        Raises JobInterrupted when the lease is lost or the job was cancelled.
        """


@dataclass
class StandaloneContext(JobContext):
    """The surroundings of a task outside an executor: no events, and the lease is always held."""

    job: str = "standalone"
    attempt: int = 1
    executor: str = "standalone"
    thread: str | int = ""
    storage: str = "local"
    storage_options: Mapping[str, Any] = field(default_factory=dict)
    default_timeout: float = DEFAULT_TIMEOUT

    def emit(self, event_type: str, **fields: Any) -> None:
        """Nobody listens."""

    def confirm_lease(self) -> None:
        """Nobody else runs this job."""


_context: ContextVar[JobContext | None] = ContextVar("portfire_job", default=None)


def current_context() -> JobContext:
    """The context of the job that runs now, else a standalone one with storage from ``STORAGE``."""
    context = _context.get()
    if context is None:
        return StandaloneContext(storage=os.environ.get("STORAGE", "local"))
    return context


@contextmanager
def use_context(context: JobContext) -> Iterator[JobContext]:
    """Make `context` the current one inside the ``with`` block, in this thread.

    FireWorks' background tasks run in threads of their own and see a standalone context.
    """
    token = _context.set(context)
    try:
        yield context
    finally:
        _context.reset(token)
