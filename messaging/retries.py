"""Tries of a job: those that failed, those that it may still have, and the message of the next."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import from_json, to_json

#: Why a try failed: infrastructure was away; a container's memory was too little, and its task
#: names a larger size; the job's process died; or it is the job's own fault.
Cause = Literal["infrastructure", "memory", "crash", "error"]


class Failure(BaseModel):
    """A try of a job that failed."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    #: Id of the executor.
    executor: str
    #: A `Cause`, or what a newer executor calls one.
    cause: str
    #: One line.
    reason: str
    #: Seconds since the epoch, UTC, by the executor's clock.
    time: float


class Retries(BaseModel):
    """How many times a job runs again after failures of a cause.

    Crashes are counted together with the deaths of executors, up to the job's max_attempts. Memory
    is a matter of the task, which names the sizes.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    #: With the executors' pauses enough for an outage of about half an hour.
    infrastructure: int = Field(default=45, ge=0)
    error: int = Field(default=0, ge=0)


DEFAULT_RETRIES = Retries()


def with_deliveries(data: bytes, count: int) -> bytes:
    """A valid job that has been delivered so often before, all other fields as they are."""
    return _changed(from_json(data), delivered_before=count)


def with_failure(data: bytes, failure: Failure, deliveries: int) -> bytes:
    """The message of the next try of a valid job, all other fields as they are.

    `deliveries` as of `with_deliveries`. After a failure for memory it has the next size.
    """
    body = from_json(data)
    changes: dict[str, Any] = {"history": [*body.get("history", []), failure.model_dump()]}
    if failure.cause == "memory":
        changes["memory_step"] = body.get("memory_step", 0) + 1
    return _changed(body, **changes, delivered_before=deliveries)


def _changed(body: dict[str, Any], **changes: Any) -> bytes:
    return to_json({**body, **changes}, inf_nan_mode="constants")
