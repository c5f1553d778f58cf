"""The event types, their JSON form and their message attributes.

An event is a frozen value. `decode` gives back the class that belongs to its ``type``; the type of
a newer Portfire of the same major version gives a plain `Event` (or `JobEvent`), with every field
that it carried. Names and fields are those of hyperflow-amqp-executor, and more (docs/events.md).
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import from_json

from events.attributes import attributes_of, routing_key
from messaging.errors import MessageError
from messaging.wire import describe

EVENT_VERSION = "1.0"
MAX_LINE = 2000
END_OF_9999 = 253402300799.0


def one_line(text: Any) -> Any:
    """Text on one line of at most `MAX_LINE` characters; what is no text stays as it is."""
    return " ".join(text.split())[:MAX_LINE].rstrip() if isinstance(text, str) else text


def joined(lines: Any) -> Any:
    """A list of lines as one text; anything else stays as it is."""
    return "\n".join(map(str, lines)) if isinstance(lines, list | tuple) else lines


OneLine = Annotated[str, BeforeValidator(one_line)]
Lines = Annotated[str, BeforeValidator(joined)]
Phase = Literal["stage-in", "execution", "stage-out", "job"]


class Event(BaseModel):
    """Something that happened on an executor; base of all event types, and any unknown type."""

    model_config = ConfigDict(
        frozen=True,
        extra="allow",
        allow_inf_nan=False,
        coerce_numbers_to_str=True,
    )

    version: str = EVENT_VERSION
    type: str = Field(min_length=1, max_length=256)
    #: Unique; the same again means the same event delivered twice.
    event_id: str = Field(default_factory=lambda: uuid.uuid4().hex, min_length=1)
    #: Id of the executor that speaks.
    executor: str = Field(min_length=1)
    #: Seconds since the epoch, UTC, by the executor's clock.
    timestamp: float = Field(default_factory=time.time, ge=0, le=END_OF_9999)

    @property
    def job(self) -> str | None:
        """Id of the job that the event is about, or None."""
        return None

    @property
    def routing_key(self) -> str:
        """The type, with the job's id in it: ``job.<id>.stage-in.started``."""
        return routing_key(self.type, self.job)

    def encode(self) -> bytes:
        """JSON, without the fields that are None."""
        return self.model_dump_json(exclude_none=True).encode()

    @property
    def trace(self) -> str | None:
        """The trace that the event is a part of, as W3C trace context writes it, or None."""
        return None

    def attributes(self) -> dict[str, str]:
        """Attributes of the Pub/Sub message: for filters, and CloudEvents 1.0 in binary mode.

        A value longer than Pub/Sub allows is cut; the body has it whole.
        """
        about = (self.type, self.executor, self.event_id, self.timestamp)
        return attributes_of(*about, self.job, self.trace)


class ExecutorReady(Event):
    """The executor has started and takes jobs."""

    type: Literal["executor.ready"] = "executor.ready"
    host: str | None = None
    pool: str | None = None
    #: Number of slots.
    threads: int | None = None


class ExecutorHeartbeat(Event):
    """The executor lives; sent at intervals."""

    type: Literal["executor.heartbeat"] = "executor.heartbeat"
    pool: str | None = None
    threads: int | None = None
    #: Slots that run a job.
    busy: int | None = None
    #: Resident memory of the executor, bytes.
    memory: int | None = None
    #: Free space where launch directories are made, bytes.
    disk: int | None = None
    #: Load average of the host over the last minute.
    load: float | None = None
    #: Events that this executor could not publish.
    lost_events: int | None = None


class ExecutorDraining(Event):
    """The executor takes no more jobs and will stop."""

    type: Literal["executor.draining"] = "executor.draining"
    reason: OneLine | None = None


class ExecutorStopped(Event):
    """The executor's last event."""

    type: Literal["executor.stopped"] = "executor.stopped"
    reason: OneLine | None = None
    #: Events that this executor could not publish in all its life.
    lost_events: int | None = None


class JobEvent(Event):
    """Something that happened to a job."""

    #: The job's correlation id.
    id: str
    #: Number of the job's events from this executor so far, from 1: the order in which they
    #: happened there. It counts on through the attempts of a job on the same executor.
    seq: int | None = None
    #: The executor's slot.
    thread: int | str | None = None
    name: str | None = None
    #: Of the executors that the job is for.
    pool: str | None = None
    #: The how-manieth claim of a launch; none for raw jobs.
    attempt: int | None = None
    #: The trace that the job's sender made it a part of, as W3C trace context writes it.
    traceparent: str | None = None

    @property
    def job(self) -> str | None:
        return self.id or None

    @property
    def trace(self) -> str | None:
        return self.traceparent


class JobStarted(JobEvent):
    """A slot took up the job."""

    type: Literal["job.started"] = "job.started"
    #: Seconds that the message waited in Pub/Sub.
    queued: float | None = None


class StageStarted(JobEvent):
    """The transfer of inputs or outputs begins."""

    type: Literal["job.stage-in.started", "job.stage-out.started"]


class StageProgress(JobEvent):
    """A long transfer of inputs or outputs goes on; sent every 10 seconds."""

    type: Literal["job.stage-in.progress", "job.stage-out.progress"]
    #: Seconds since the transfer began.
    time: float | None = None
    #: Bytes transferred so far.
    bytes: int | None = None


class StagedFile(BaseModel):
    """A file or tree that a job named, as it was transferred."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str
    bytes: int | None = None
    #: ``algorithm:hex`` as compared at both ends; none where only sizes were.
    checksum: str | None = None


class StageFinished(JobEvent):
    """The transfer of inputs or outputs ended, well or (with `error`) not."""

    type: Literal["job.stage-in.finished", "job.stage-out.finished"]
    #: What kind of store the files are in: ``gcs``, ``s3``, ``nfs``...
    backend: str | None = None
    #: Seconds that the transfer took.
    time: float | None = None
    #: Bytes transferred.
    bytes: int | None = None
    #: Those of them that came from the executor's input cache.
    cached: int | None = None
    #: What was transferred, by the job's own names; the first 100.
    files: list[StagedFile] = []
    error: OneLine | None = None


class ExecutionStarted(JobEvent):
    """The program or container starts."""

    type: Literal["job.execution.started"] = "job.execution.started"
    executable: str | None = None


class ImagePull(JobEvent):
    """The container's image is pulled by this job, for itself and for all who wait for it.

    The progress is told every 5 seconds at most; the end, well or (with `error`) not.
    """

    type: Literal["job.image-pull.started", "job.image-pull.progress", "job.image-pull.finished"]
    #: With its tag or digest.
    image: str | None = None
    #: Seconds since the pull began.
    time: float | None = None
    #: Bytes of its layers that were fetched; those that the engine had before do not count.
    bytes: int | None = None
    #: Bytes of the layers to fetch, as far as they are known: it grows.
    total: int | None = None
    #: Number of the image's layers.
    layers: int | None = None
    error: OneLine | None = None


class ExecutionSample(JobEvent):
    """What the program or container uses, every 2 seconds; only where the executor's `samples` say.

    Counts are since its start, of all its processes.
    """

    type: Literal["job.execution.sample"] = "job.execution.sample"
    #: Seconds since it began.
    time: float | None = None
    #: Processors in use since the last sample.
    cpu: float | None = None
    cpu_seconds: float | None = None
    #: Resident bytes now.
    memory: int | None = None
    #: Bytes read and written by system calls, whatever from or to.
    read: int | None = None
    written: int | None = None
    #: Bytes that disks were asked for.
    block_read: int | None = None
    block_written: int | None = None
    network_received: int | None = None
    network_sent: int | None = None


class ExecutionFinished(JobEvent):
    """The program or container ended, well or (with `error`) not."""

    type: Literal["job.execution.finished"] = "job.execution.finished"
    #: Seconds that it ran.
    time: float | None = None
    executable: str | None = None
    metrics: dict[str, Any] = {}
    #: A negative number is the signal that ended it; none when it never started.
    exit_code: int | None = None
    #: The same as `exit_code`, under the name that HyperFlow gives it.
    exit_status: int | None = None
    error: OneLine | None = None
    #: The last lines that it printed before it failed.
    output: Lines | None = None

    @model_validator(mode="before")
    @classmethod
    def _exit_code_by_both_names(cls, fields: Any) -> Any:
        if not isinstance(fields, Mapping):
            return fields
        code = fields.get("exit_code")
        code = fields.get("exit_status") if code is None else code
        return {**fields, "exit_code": code, "exit_status": code}


class JobFinished(JobEvent):
    """The job ended; on failure `phase` and `reason` say where and why."""

    type: Literal["job.finished"] = "job.finished"
    #: ``FAILED`` is a raw job's failure, ``FIZZLED`` a launch's.
    state: Literal["COMPLETED", "FIZZLED", "FAILED"]
    phase: Phase | None = None
    reason: OneLine | None = None


class JobReleased(JobEvent):
    """The job was given back and waits for the next executor; no failed attempt."""

    type: Literal["job.released"] = "job.released"
    reason: OneLine | None = None


class JobCancelled(JobEvent):
    """The job was stopped because somebody asked for it."""

    type: Literal["job.cancelled"] = "job.cancelled"
    reason: OneLine | None = None


class JobRejected(JobEvent):
    """A message from the jobs topic that is no job."""

    type: Literal["job.rejected"] = "job.rejected"
    #: Empty when the message names none.
    id: str = ""
    reason: OneLine | None = None


_CLASSES: tuple[type[Event], ...] = (
    ExecutorReady,
    ExecutorHeartbeat,
    ExecutorDraining,
    ExecutorStopped,
    JobStarted,
    StageStarted,
    StageProgress,
    StageFinished,
    ExecutionStarted,
    ImagePull,
    ExecutionSample,
    ExecutionFinished,
    JobFinished,
    JobReleased,
    JobCancelled,
    JobRejected,
)
#: The class of each type; ``EVENT_TYPES[name].model_json_schema()`` is its JSON Schema.
EVENT_TYPES: Mapping[str, type[Event]] = MappingProxyType(
    {name: model for model in _CLASSES for name in get_args(model.model_fields["type"].annotation)}
)


def make_event(fields: Mapping[str, Any]) -> Event:
    """The event with these fields, in the class of its ``type``; raises MessageError."""
    event_type = fields.get("type")
    model = EVENT_TYPES.get(event_type, Event) if isinstance(event_type, str) else Event
    if model is Event and "id" in fields and str(event_type).startswith("job."):
        model = JobEvent
    try:
        return model.model_validate(fields)
    except ValidationError as exc:
        raise MessageError(f"event {event_type!r} is not valid: {describe(exc)}") from exc


def decode(data: bytes) -> Event:
    """The event in a message from the events topic; raises MessageError saying what is wrong."""
    try:
        body = from_json(data, allow_inf_nan=False)
    except ValueError as exc:
        raise MessageError(f"event is not JSON: {exc}") from exc
    if not isinstance(body, dict):
        raise MessageError(f"event is a JSON {type(body).__name__}: expected an object")
    version = body.get("version", EVENT_VERSION)
    major = EVENT_VERSION.split(".")[0]
    if not isinstance(version, str) or version.split(".")[0] != major:
        raise MessageError(
            f"event has version {version!r}; this Portfire reads {major}.x: upgrade the older side"
        )
    return make_event(body)
