"""How a job failed: in which phase, why, and what a program may want to know of it."""

from __future__ import annotations

from typing import Any, Literal

from messaging.errors import JobError, PortfireError, ServiceError
from storage_backends.errors import from_os_error

Phase = Literal["stage-in", "execution", "stage-out"]

#: Why running the same job once more may help: ``infrastructure`` was away; ``memory`` was too
#: little, and the job has asked for more next time. ``""``: it would not.
Retry = Literal["", "infrastructure", "memory"]


class PhaseError(PortfireError):
    """A phase of a job failed. ``str()`` is the one-line reason.

    FireWorks stores `to_dict` as ``_exception._details`` of the launch.
    """

    #: Why the same job may succeed later or on another executor.
    retry: Retry = ""

    def __init__(self, phase: Phase, reason: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(reason)
        self.phase: Phase = phase
        self.reason = reason
        self.details = details or {}

    def to_dict(self) -> dict[str, Any]:
        """JSON: ``phase``, ``reason``, ``retry`` (a bool), and the details of that failure."""
        retry = bool(self.retry)
        return {"phase": self.phase, "reason": self.reason, "retry": retry, **self.details}


class PhaseFailedError(PhaseError, JobError):
    """The job's own fault: a missing input, a wrong name, a program that failed."""


class PhaseMemoryError(PhaseFailedError):
    """A container ran out of memory, and its task has named a larger size for the next try."""

    retry: Retry = "memory"


class PhaseOutageError(PhaseError, ServiceError):
    """Infrastructure failed the job: the store or the Docker Engine is away."""

    retry: Retry = "infrastructure"


def phase_error(phase: Phase, exc: PortfireError | OSError) -> PhaseError:
    """The failure of `phase` because of `exc`; a PhaseError stays as it is."""
    if isinstance(exc, PhaseError):
        return exc
    if isinstance(exc, OSError):
        exc = from_os_error(exc, str(exc.filename or "the job's directory"))
    kind = PhaseOutageError if isinstance(exc, ServiceError) else PhaseFailedError
    return kind(phase, one_line(exc), {"error": type(exc).__name__})


def one_line(exc: BaseException) -> str:
    """What `exc` says, on one line, at most 500 characters."""
    return shortened(str(exc), 500) or type(exc).__name__


def shortened(text: str, limit: int) -> str:
    """`text` on one line of at most `limit` characters."""
    # A file's name may hold what cannot be sent.
    line = " ".join(text.encode(errors="replace").decode().split())
    return line if len(line) <= limit else line[: limit - 3] + "..."
