"""Outcomes: what became of a job, as one frozen value."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from executor.failures import Retry
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
    #: On failure: why running the whole Firework once more may help.
    retry: Retry = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawEnded:
    """A raw job ran to its end, well or not."""

    reply: Reply
    phase: str | None = None
    reason: str | None = None
    #: As of LaunchEnded.
    retry: Retry = ""


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


def fizzled(
    reason: str, *, phase: str = "job", stacktrace: str | None = None, retry: Retry = ""
) -> LaunchEnded:
    """The end of a launch that failed outside its tasks, stored as FireWorks stores failures."""
    return LaunchEnded(
        state="FIZZLED",
        action=failure_action(reason, stacktrace),
        phase=phase,
        reason=reason,
        retry=retry,
    )


def given_up(ended: LaunchEnded | RawEnded, attempts: int) -> LaunchEnded | RawEnded:
    """The same failure, after which the job is not tried again; its reason says so."""
    if attempts < 2:
        return replace(ended, retry="")
    note = f"; given up after {attempts} attempts"
    reason = f"{ended.reason}{note}"
    if isinstance(ended, RawEnded):
        exceptions = [f"{text}{note}" for text in ended.reply.exceptions or []]
        reply = ended.reply.model_copy(update={"exceptions": exceptions})
        return replace(ended, reply=reply, reason=reason, retry="")
    return replace(ended, action=_explained(ended.action, note), reason=reason, retry="")


def _explained(action: dict[str, Any], note: str) -> dict[str, Any]:
    """The FWAction of a failure with `note` added to the reason that it gives."""
    stored = action["stored_data"]
    details = stored["_exception"].get("_details")
    if isinstance(details, dict) and "reason" in details:
        details = {**details, "reason": f"{details['reason']}{note}"}
        stored = {**stored, "_exception": {**stored["_exception"], "_details": details}}
    else:
        stored = {**stored, "_message": f"{stored['_message']}{note}"}
    return {**action, "stored_data": stored}
