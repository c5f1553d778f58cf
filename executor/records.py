"""The records that travel between the executor and a slot's child process, over one pipe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from executor.outcome import LaunchEnded, RawEnded
from messaging.wire import LaunchJob, RawJob


@dataclass(frozen=True, slots=True)
class ChildOptions:
    """What a child process knows of its executor, once for all jobs."""

    executor: str
    thread: int
    storage: str
    storage_options: dict[str, Any]
    job_timeout: float


@dataclass(frozen=True, slots=True)
class RunLaunch:
    """Down: run this launch in this directory."""

    job: LaunchJob
    directory: str


@dataclass(frozen=True, slots=True)
class RunRaw:
    """Down: run this raw job in this directory."""

    job: RawJob
    job_id: str
    directory: str


@dataclass(frozen=True, slots=True)
class LeaseAnswer:
    """Down: whether the job may still store outputs."""

    number: int
    held: bool


@dataclass(frozen=True, slots=True)
class TaskEvent:
    """Up: an event about the running job; fields have their own ``timestamp``."""

    type: str
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class LaunchPing:
    """Up: what the Rocket told the LaunchPad while it runs."""

    checkpoint: dict[str, Any] | None
    trackers: list[dict[str, Any]] | None
    launch_dir: str | None


@dataclass(frozen=True, slots=True)
class LeaseQuestion:
    """Up: may the job store its outputs? Asked once, right before stage-out."""

    number: int


@dataclass(frozen=True, slots=True)
class Done:
    """Up: the job ended; no outcome means that it was interrupted."""

    outcome: LaunchEnded | RawEnded | None


Downward = RunLaunch | RunRaw | LeaseAnswer
Upward = TaskEvent | LaunchPing | LeaseQuestion | Done
