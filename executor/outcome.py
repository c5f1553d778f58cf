"""Outcomes: what became of a job, as one frozen value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from messaging.failures import failure_action
from messaging.wire import Reply

#: Why a job was stopped from outside.
Cause = Literal["stopping", "cancelled", "lease lost"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchEnded:
    """A launch ran to its end, well or not: what the LaunchPad will be told."""

    state: Literal["COMPLETED", "FIZZLED"]
    #: ``FWAction.to_dict()``.
    action: dict[str, Any]
    checkpoint: dict[str, Any] | None = None
    trackers: list[dict[str, Any]] | None = None
    launch_dir: str = ""
    #: On failure: where (``stage-in``, ``execution``, ``stage-out``, ``job``) and why, one line.
    phase: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RawEnded:
    """A raw job ran to its end, well or not."""

    reply: Reply
    phase: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Interrupted:
    """The job was stopped from outside before it had a result. No failed attempt."""

    cause: Cause
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildDied:
    """The job's process died: killed, out of memory, a crash in native code, ``os._exit``."""

    #: For instance ``was killed by SIGKILL``.
    how: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unstartable:
    """This executor could not even begin, for a reason of its own (no space, no process)."""

    reason: str


Outcome = LaunchEnded | RawEnded | Interrupted | ChildDied | Unstartable


def fizzled(reason: str, *, phase: str = "job", stacktrace: str | None = None) -> LaunchEnded:
    """The end of a launch that failed outside its tasks, stored as FireWorks stores failures."""
    return LaunchEnded(
        state="FIZZLED", action=failure_action(reason, stacktrace), phase=phase, reason=reason
    )
