"""The records that travel between the executor and a slot's child process, over one pipe."""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from executor.context import DEFAULT_STOP_GRACE
from executor.outcome import LaunchEnded, RawEnded
from executor.policy import Policy
from messaging.wire import LaunchJob, RawJob


@dataclass(frozen=True, slots=True)
class ChildOptions:
    """What a child process knows of its executor, once for all jobs."""

    executor: str
    thread: int
    storage: str
    storage_options: dict[str, Any]
    job_timeout: float
    prefix: str = ""
    policy: Policy = field(default_factory=Policy)
    #: Seconds.
    stop_grace: float = DEFAULT_STOP_GRACE
    container_network: str | None = None
    image_turns: Path | None = None
    #: Where kept containers have their files: each child in a directory named by `warm_job`.
    warm_place: Path | None = None
    #: Whether somebody reads what tasks print.
    log_output: bool = False
    #: Whether samples of what tasks use are wanted as events.
    samples: bool = False


@dataclass(frozen=True, slots=True)
class RunLaunch:
    """Down: run this launch in this directory."""

    job: LaunchJob
    directory: str
    #: What its programs find as ``TRACEPARENT``, if anything.
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class RunRaw:
    """Down: run this raw job in this directory."""

    job: RawJob
    job_id: str
    directory: str
    #: As of RunLaunch.
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class LeaseAnswer:
    """Down: whether the job may still store outputs."""

    number: int
    held: bool


@dataclass(frozen=True, slots=True)
class TransferAnswer:
    """Down: where the transfer process listens, or why there is none."""

    number: int
    address: str = ""
    error: str | None = None


@dataclass(frozen=True, slots=True)
class TaskEvent:
    """Up: an event about the running job; fields have their own ``timestamp``."""

    type: str
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ContainerBegins:
    """Up: the job is about to make a container, which may take so many seconds to stop."""

    stop_grace: float


@dataclass(frozen=True, slots=True)
class TaskOutput:
    """Up: lines that the job's task printed, as (stream, text), and how many were left out."""

    lines: list[tuple[str, str]]
    dropped: int


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
class TransferQuestion:
    """Up: where does the transfer process listen? It is started if need be."""

    number: int


@dataclass(frozen=True, slots=True)
class Done:
    """Up: the job ended; no outcome means that it was interrupted."""

    outcome: LaunchEnded | RawEnded | None


Downward = RunLaunch | RunRaw | LeaseAnswer | TransferAnswer
Upward = (
    TaskEvent | ContainerBegins | TaskOutput | LaunchPing | LeaseQuestion | TransferQuestion | Done
)

#: What `packed` raises for a record that holds what cannot travel.
UNSENDABLE = (pickle.PicklingError, TypeError, AttributeError, RecursionError)


def packed(record: Upward) -> bytes:
    """The record for the pipe; several may follow each other in one message."""
    return pickle.dumps(record, pickle.HIGHEST_PROTOCOL)


def unpacked(message: bytes) -> Iterator[Upward]:
    """The records in a message, in order."""
    stream = io.BytesIO(message)
    while stream.tell() < len(message):
        yield pickle.load(stream)
