"""Settings of the executor daemon."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from messaging.settings import PubSubSettings


def _new_id() -> str:
    return str(uuid.uuid4())


class ExecutorSettings(PubSubSettings):
    """What ``portfire executor`` may be told; times are seconds."""

    threads: int = Field(
        default_factory=lambda: os.cpu_count() or 1,
        ge=1,
        le=1000,
        description="Number of slots: jobs that run at the same time. Default: the cores.",
        json_schema_extra={"env": "THREADS"},
    )
    storage: str = Field(
        default="local",
        min_length=1,
        description="Storage backend of the jobs that name none.",
        json_schema_extra={"env": "STORAGE"},
    )
    storage_options: dict[str, Any] = Field(
        default={},
        description="Options of that backend (such as workdir); a job's own options go over these.",
    )
    pool: str = Field(
        default="default",
        pattern=r"^[A-Za-z0-9_-]{1,60}$",
        description="The kind of job that this executor takes: "
        "the executors of one pool share its subscription.",
        json_schema_extra={"env": "PORTFIRE_POOL"},
    )
    workdir: Path = Field(
        default=Path("portfire-work"),
        description="Where launch directories are made. Must be writable and have space for the "
        "inputs and outputs of all running jobs.",
        json_schema_extra={"env": "PORTFIRE_WORKDIR"},
    )
    executor_id: str = Field(
        default_factory=_new_id,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._~-]{0,99}$",
        description="Id in events, updates and container labels; must be unique. Default: a UUID.",
    )
    lease_seconds: float = Field(
        default=60.0,
        ge=10,
        le=600,
        description="After a crash of the executor its jobs go to others within this time. "
        "A connection lost for longer than this stops the running jobs.",
        json_schema_extra={"env": "PORTFIRE_LEASE_SECONDS"},
    )
    grace_seconds: float = Field(
        default=20.0,
        ge=0,
        description="When the executor is told to stop, running jobs have this long to finish; "
        "then they are stopped and given back. A preempted VM has about 30 seconds in all.",
    )
    heartbeat_seconds: float = Field(
        default=30.0,
        gt=0,
        description="Interval of heartbeat events, and of the pings of running launches.",
    )
    jobs_per_child: int = Field(
        default=1000,
        ge=1,
        description="Jobs after which a slot's child process is replaced: bounds what leaks from "
        "tasks. 1 gives every job a fresh process (about 10 ms).",
    )
    on_child_death: Literal["fizzle", "retry"] = Field(
        default="retry",
        description="What becomes of a job whose process died (killed, out of memory, crashed): "
        "FIZZLED at once, or run again until the job's max_attempts.",
    )
    job_timeout: float = Field(
        default=3600.0,
        gt=0,
        description="How long a program or container may run if its task names no timeout.",
    )
    keep_directories: bool = Field(
        default=True,
        description="Keep the launch directories of Fireworks, as rlaunch does. "
        "Those of raw jobs are always removed.",
    )
    control: bool = Field(
        default=True,
        description="Listen for cancelled jobs; needs the right to make a subscription. "
        "Without it, a cancelled job runs to its end and its result is dropped.",
    )
