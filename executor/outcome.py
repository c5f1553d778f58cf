"""Outcomes: what became of a job, as one frozen value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from executor.failures import Retry, shortened
from messaging.failures import failure_action
from messaging.retries import Failure
from messaging.wire import LaunchJob, RawJob, Reply

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


Ended = LaunchEnded | RawEnded
Outcome = Ended | Interrupted | ChildDied | Unstartable


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


def failed(job: LaunchJob | RawJob, job_id: str, reason: str, phase: str) -> Ended:
    """The end of a job that failed outside its tasks."""
    if isinstance(job, LaunchJob):
        return fizzled(reason, phase=phase)
    reply = Reply(job=job_id, exceptions=[reason])
    return RawEnded(reply=reply, phase=phase, reason=reason)


def given_up(ended: Ended, history: Sequence[Failure], silences: int) -> Ended:
    """The same failure, after which the job is not tried again; it tells of all tries.

    `history` has those that failed, `silences` is the number of those that nobody told of.
    """
    attempts = len(history) + silences
    if not history or attempts < 2:
        return replace(ended, retry="")
    note = f"; given up after {attempts} attempts: {_summary(history, silences)}"
    reason = f"{ended.reason}{note}"
    if isinstance(ended, RawEnded):
        exceptions = [f"{text}{note}" for text in ended.reply.exceptions or []]
        reply = ended.reply.model_copy(update={"exceptions": exceptions})
        return replace(ended, reply=reply, reason=reason, retry="")
    return replace(ended, action=_explained(ended.action, note, history), reason=reason, retry="")


def _summary(history: Sequence[Failure], silences: int) -> str:
    """How often the job failed for each cause, with the last reason."""
    reasons = {failure.cause: shortened(failure.reason, 80) for failure in history}
    counts = Counter(failure.cause for failure in history)
    parts = [f"{count} x {cause} ({reasons[cause]})" for cause, count in counts.items()]
    if silences:
        parts.append(f"{silences} x no word from its executor")
    return ", ".join(parts)


def _explained(action: dict[str, Any], note: str, history: Sequence[Failure]) -> dict[str, Any]:
    """The FWAction of a failure, with `note` added to the reason that it gives, and `history`."""
    stored = action["stored_data"]
    exception = stored.get("_exception") or {}
    details = exception.get("_details")
    if isinstance(details, dict) and "reason" in details:
        details = {**details, "reason": f"{details['reason']}{note}"}
    else:
        stored = {**stored, "_message": f"{stored.get('_message', '')}{note}"}
    if details is None or isinstance(details, dict):
        # A task's own exception may use the word, too.
        details = {"history": [failure.model_dump() for failure in history], **(details or {})}
    stored = {**stored, "_exception": {**exception, "_details": details}}
    return {**action, "stored_data": stored}
