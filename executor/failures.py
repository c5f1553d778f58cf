"""How a job failed: in which phase, why, and what a program may want to know of it."""

from __future__ import annotations

from typing import Any, Literal

from messaging.errors import JobError, PortfireError, ServiceError
from storage_backends.errors import from_os_error

Phase = Literal["stage-in", "execution", "stage-out"]


class PhaseError(PortfireError):
    """A phase of a job failed. ``str()`` is the one-line reason.

    FireWorks stores `to_dict` as ``_exception._details`` of the launch.
    """

    #: Whether the same job may succeed later or on another executor.
    retry = False

    def __init__(self, phase: Phase, reason: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(reason)
        self.phase: Phase = phase
        self.reason = reason
        self.details = details or {}

    def to_dict(self) -> dict[str, Any]:
        """JSON: ``phase``, ``reason``, ``retry``, and the details of that failure."""
        return {"phase": self.phase, "reason": self.reason, "retry": self.retry, **self.details}


class PhaseFailedError(PhaseError, JobError):
    """The job's own fault: a missing input, a wrong name, a program that failed."""


class PhaseOutageError(PhaseError, ServiceError):
    """Infrastructure failed the job: the store or the Docker Engine is away."""

    retry = True


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
    text = " ".join(str(exc).split()) or type(exc).__name__
    return text if len(text) <= 500 else text[:497] + "..."
