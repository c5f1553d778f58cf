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
from pathlib import Path
from typing import TYPE_CHECKING, Any

from executor.policy import Policy
from storage_backends.contract import StorageBackend
from storage_backends.registry import open_backend

if TYPE_CHECKING:
    # Not at run time: only jobs in containers need the Docker SDK.
    from executor.warm.containers import WarmContainers

DEFAULT_TIMEOUT = 3600.0
#: Seconds between SIGTERM and SIGKILL of a container.
DEFAULT_STOP_GRACE = 10.0


class JobContext(ABC):
    """What a running job may ask of its executor.

    Used from the job's main thread only, except `task_output` and `emit`.
    """

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
    #: First part of the installation's topic names: job ids are unique in it only.
    prefix: str
    #: What jobs may do here.
    policy: Policy
    #: Seconds between SIGTERM and SIGKILL of containers whose task does not say.
    stop_grace: float
    #: Network of containers whose task names none; None: the engine's bridge.
    container_network: str | None
    #: Directory where those who pull the same image take turns; None: one for all of this user's.
    image_turns: Path | None
    #: Tries of this job before this one that ran out of memory.
    memory_step: int
    #: Whether anybody reads what `task_output` is given.
    wants_output: bool
    #: Whether `emit` is to be told every 2 seconds what the job's program or container uses.
    samples: bool = False

    @property
    def warm(self) -> WarmContainers | None:
        """The kept containers of this slot; None where there is nobody to keep them."""
        return None

    def container_begins(self, stop_grace: float) -> None:  # noqa: B027 - nothing is fine
        """A container of this job is about to be made, which may take `stop_grace` to stop."""

    def task_output(self, lines: list[tuple[str, str]], dropped: int) -> None:  # noqa: B027 - likewise
        """Log lines that the task printed, as (stream, text); `dropped` ones came before them.

        May be called from any thread; never raises.
        """

    @abstractmethod
    def emit(self, event_type: str, **fields: Any) -> None:
        """Publish an event about this job; never blocks, never raises. From any thread."""

    @abstractmethod
    def confirm_lease(self) -> None:
        """Return if this attempt may still store outputs; asked once, right before stage-out.

        Raises JobInterrupted when the lease is lost or the job was cancelled.
        """

    @abstractmethod
    def open_storage(self, name: str, options: Mapping[str, Any]) -> StorageBackend:
        """The storage backend `name` with `options`, until the job is over.

        Raises UsageError for a wrong name or option, StorageTransientError when it cannot be had
        now.
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
    prefix: str = ""
    policy: Policy = field(default_factory=Policy)
    stop_grace: float = DEFAULT_STOP_GRACE
    container_network: str | None = None
    image_turns: Path | None = None
    memory_step: int = 0
    wants_output: bool = False

    def emit(self, event_type: str, **fields: Any) -> None:
        """Nobody listens."""

    def confirm_lease(self) -> None:
        """Nobody else runs this job."""

    def open_storage(self, name: str, options: Mapping[str, Any]) -> StorageBackend:
        """See JobContext; it works in this process."""
        return open_backend(name, options)


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
