"""The messages that travel: jobs, updates, control, replies.

All are JSON, versioned, frozen and validated; unknown fields are ignored (so that a newer peer may
add some), an unknown major version is refused. Attributes of the Pub/Sub message carry only what
subscription filters need; the body says everything.

===========  ====================  =====================================
direction    topic                 models
===========  ====================  =====================================
dispatcher → executor  ``-jobs``     `LaunchJob`
anybody    → executor  ``-jobs``     `RawJob`
executor → dispatcher  ``-updates``  `Started`, `Ping`, `Finished`, `Released`, `PoolMade`,
                                     `ExecutorNews`
dispatcher → executors ``-control``  `Cancel`, `PoolState`
executor → ``reply_to``              `Reply`
===========  ====================  =====================================
"""

from __future__ import annotations

import time
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import from_json

from messaging.errors import MessageError
from messaging.retries import DEFAULT_RETRIES, Failure, Retries

WIRE_VERSION = "1.0"
MAX_MESSAGE_BYTES = 10_000_000
#: Fields whose values may be passwords: errors, which go to logs and events, do not show them.
_SECRET = {"env", "options"}


class WireModel(BaseModel):
    """Base of all wire messages: frozen, unknown fields ignored, versioned."""

    # FireWorks stores inf and nan, which JSON proper does not know.
    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="constants")

    version: str = WIRE_VERSION

    def encode(self) -> bytes:
        """JSON, without the fields that are None."""
        return self.model_dump_json(exclude_none=True).encode()


class _Job(WireModel):
    #: The tries before this one that failed, the oldest first.
    history: list[Failure] = []
    retries: Retries = DEFAULT_RETRIES
    #: Deliveries of the messages that this one takes the place of, as far as they count.
    delivered_before: int = Field(default=0, ge=0)


class LaunchJob(_Job):
    """One claimed launch of a Firework."""

    kind: Literal["launch"] = "launch"
    #: Correlation id, the same for every attempt of a launch.
    job: str
    #: The how-manieth claim of this launch, from 1; older attempts are refused by the dispatcher.
    attempt: int = Field(ge=1)
    #: Crashes, and deaths of its executors, after which the launch is FIZZLED instead of run.
    max_attempts: int = Field(default=5, ge=1)
    pool: str = "default"
    launch_id: int
    fw_id: int
    name: str = ""
    #: The name of its workflow, for logs; empty if the dispatcher did not say.
    workflow: str = ""
    #: ``Firework.to_dict()`` (JSON types only).
    firework: dict[str, Any]
    #: ``FWorker.to_dict()`` of the pool.
    fworker: dict[str, Any]
    #: FireWorks' trackers, as in the Launch document.
    trackers: list[dict[str, Any]] = []
    #: Tries before this one that ran out of memory: the place of this try's size among the job's.
    memory_step: int = Field(default=0, ge=0)


class NamedFile(BaseModel):
    """An input or output of a raw job, as HyperFlow writes it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str = Field(min_length=1)
    #: Of an output: stored also when the program fails, if it is there.
    on_failure: bool = False


class RawJob(_Job):
    """A HyperFlow job: a program, its inputs and outputs, and where they are stored."""

    executable: str = Field(min_length=1)
    args: str | list[str] = []
    env: dict[str, str] = {}
    inputs: list[NamedFile] = []
    outputs: list[NamedFile] = []
    #: ``storage``, ``workdir``, ``bucket``, ``prefix`` and the rest of the backend's options.
    options: dict[str, Any] = {}
    stdin: str | None = None
    stdout: str | None = None
    stderr: str | None = None
    #: Seconds; none means the executor's default.
    timeout: float | None = Field(default=None, gt=0)
    name: str | None = None


class Reply(WireModel):
    """What the sender of a raw job gets back on its ``reply_to`` topic.

    ``exit_status`` is 0 for success; a negative number is the signal that ended the program; none
    when it was never started. ``exceptions`` is there on failure only.
    """

    job: str
    exit_status: int | None = None
    stdout: str = ""
    stderr: str = ""
    metrics: dict[str, Any] = {}
    exceptions: list[str] | None = None


class _Update(WireModel):
    job: str
    attempt: int
    launch_id: int
    #: Id of the executor that speaks.
    executor: str
    #: Seconds since the epoch, UTC, by the executor's clock.
    timestamp: float = Field(default_factory=time.time)


class Started(_Update):
    """The launch runs: RESERVED becomes RUNNING."""

    update: Literal["started"] = "started"
    host: str
    ip: str
    launch_dir: str


class Ping(_Update):
    """The launch still runs; perhaps a new checkpoint or tracker contents."""

    update: Literal["ping"] = "ping"
    checkpoint: dict[str, Any] | None = None
    trackers: list[dict[str, Any]] | None = None
    launch_dir: str | None = None
    #: As in `Started`, in whose place the dispatcher may take this.
    host: str = ""
    ip: str = ""


class Finished(_Update):
    """The launch ended. Carries what `Started` said too: updates may arrive in any order."""

    update: Literal["finished"] = "finished"
    state: Literal["COMPLETED", "FIZZLED"]
    #: ``FWAction.to_dict()``.
    action: dict[str, Any]
    started: float
    host: str
    ip: str
    launch_dir: str
    checkpoint: dict[str, Any] | None = None
    trackers: list[dict[str, Any]] | None = None


class Released(_Update):
    """The job was given back (soft stop, preemption): it waits for the next executor again."""

    update: Literal["released"] = "released"
    reason: str


class PoolMade(WireModel):
    """An executor found the pool's subscription missing and made it: what was queued is lost."""

    update: Literal["pool-made"] = "pool-made"
    pool: str
    executor: str


class ExecutorNews(WireModel):
    """An executor is there, with so many slots: said at its start, with each heartbeat, and at its
    end.
    """

    update: Literal["executor"] = "executor"
    pool: str
    executor: str
    host: str
    slots: int = Field(ge=1)
    #: Slots that run a job.
    busy: int = Field(default=0, ge=0)
    #: Seconds between two of these, and between the pings of a running launch.
    heartbeat: float = Field(gt=0)
    #: It takes no more jobs.
    stopped: bool = False
    #: Seconds since the epoch, UTC, by the executor's clock.
    timestamp: float = Field(default_factory=time.time)


LaunchUpdate = Started | Ping | Finished | Released
#: Updates that are not about a launch.
PoolUpdate = PoolMade | ExecutorNews
Update = LaunchUpdate | PoolUpdate


class Cancel(WireModel):
    """Stop this job, if you run it, in this attempt or an older one."""

    control: Literal["cancel"] = "cancel"
    job: str
    attempt: int
    reason: str


class PoolState(WireModel):
    """How much there is to do for a pool: said at intervals, and when it changes much.

    Numbers over a few thousand may be cut.
    """

    control: Literal["pool-state"] = "pool-state"
    pool: str
    #: Fireworks that are READY and not claimed yet.
    ready: int = Field(ge=0)
    #: Fireworks that wait for others, as long as any of the LaunchPad runs or is about to.
    waiting: int = Field(ge=0)
    #: Jobs that are published and have not ended.
    in_flight: int = Field(ge=0)


Control = Cancel | PoolState


_M = TypeVar("_M")
_launch_jobs = TypeAdapter(LaunchJob)
_raw_jobs = TypeAdapter(RawJob)
_updates: TypeAdapter[Update] = TypeAdapter(Update)
_controls: TypeAdapter[Control] = TypeAdapter(Control)
_replies = TypeAdapter(Reply)


def decode_job(data: bytes) -> LaunchJob | RawJob:
    """The job in a message from the jobs topic; raises MessageError saying what is wrong."""
    body = _json_object(data, "job")
    if body.get("kind") == "launch":
        return _validate(_launch_jobs, body, "launch job")
    if "kind" in body:
        raise MessageError(f"job has an unknown kind {body['kind']!r}: expected 'launch'")
    return _validate(_raw_jobs, body, "raw job")


def decode_update(data: bytes) -> Update:
    """The update in a message from the updates topic; raises MessageError."""
    return _validate(_updates, _json_object(data, "update"), "update")


def decode_control(data: bytes) -> Control:
    """The control message; raises MessageError."""
    return _validate(_controls, _json_object(data, "control message"), "control message")


def decode_reply(data: bytes) -> Reply:
    """The reply to a raw job; raises MessageError."""
    return _validate(_replies, _json_object(data, "reply"), "reply")


def _json_object(data: bytes, what: str) -> dict[str, Any]:
    try:
        # Stricter than json.loads about Unicode: what passes can be encoded again.
        body = from_json(data)
    except ValueError as exc:
        raise MessageError(f"{what} is not JSON: {exc}") from exc
    if not isinstance(body, dict):
        raise MessageError(f"{what} is a JSON {type(body).__name__}: expected an object")
    version = body.get("version", WIRE_VERSION)
    if not isinstance(version, str) or version.split(".")[0] != WIRE_VERSION.split(".")[0]:
        raise MessageError(
            f"{what} has version {version!r}; this Portfire reads {WIRE_VERSION.split('.')[0]}.x: "
            "upgrade the older side"
        )
    return body


def _validate(adapter: TypeAdapter[_M], body: dict[str, Any], what: str) -> _M:
    try:
        return adapter.validate_python(body)
    except ValidationError as exc:
        raise MessageError(f"{what} is not valid: {describe(exc)}") from exc


def describe(error: ValidationError, limit: int = 3) -> str:
    """A pydantic error as one line: each wrong field, its value, and what was expected."""
    problems = []
    for item in error.errors()[:limit]:
        field = ".".join(str(part) for part in item["loc"]) or "value"
        if item["type"] == "missing":
            problems.append(f"{field} is missing")
        else:
            value = "***" if _SECRET & set(item["loc"]) else _short(item["input"])
            problems.append(f"{field} is {value}: {item['msg']}")
    return "; ".join(problems)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
