"""Settings of the executor daemon."""

from __future__ import annotations

import os
import re
import uuid
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from executor.context import DEFAULT_STOP_GRACE, DEFAULT_TIMEOUT
from executor.policy import Policy
from messaging.errors import JobError
from messaging.settings import PubSubSettings
from storage_backends.pool import DEFAULT_THREADS


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
        description="Storage of the jobs that name none: a name, or a URL (gs://bucket/folder).",
        json_schema_extra={"env": "STORAGE"},
    )
    storage_options: dict[str, Any] = Field(
        default={},
        description="Options of that storage (such as workdir); a job's own options go over these.",
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
    cache_gb: float = Field(
        default=0.0,
        ge=0,
        description="Gigabytes (10^9 bytes) of fetched inputs that are kept below workdir for "
        "later jobs; 0 keeps none. Each executor that works in the same workdir has its own.",
        json_schema_extra={"env": "PORTFIRE_CACHE_GB"},
    )
    transfer_threads: int = Field(
        default=DEFAULT_THREADS,
        ge=1,
        le=1000,
        description="Files that are moved at the same time, for all slots together.",
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
        "then they are stopped and given back. On a VM that is preempted they have none.",
    )
    idle_for_rockets: float = Field(
        default=0.0,
        ge=0,
        description="Seconds without a job, while nothing is READY or waiting to be, after which "
        "the executor ends, and with it the VM that it runs on; 0: never. On a VM of Compute "
        "Engine the default is 900.",
        json_schema_extra={"env": "PORTFIRE_IDLE_FOR_ROCKETS"},
    )
    idle_for_waiters: float = Field(
        default=0.0,
        ge=0,
        description="The same while Fireworks wait for others to end, or the dispatcher is silent; "
        "at least idle_for_rockets. On a VM of Compute Engine the default is 3600.",
        json_schema_extra={"env": "PORTFIRE_IDLE_FOR_WAITERS"},
    )
    development: bool = Field(
        default=False,
        description="Keep the VM of Compute Engine when the executor ends.",
        json_schema_extra={"env": "PORTFIRE_DEVELOPMENT"},
    )
    linger_seconds: float = Field(
        default=900.0,
        ge=0,
        description="For so long the VM stays after its executor ended with an error, for somebody "
        "to look at it.",
        json_schema_extra={"env": "PORTFIRE_LINGER_SECONDS"},
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
        "tasks. 1 gives every job a fresh process (about 20 ms).",
    )
    on_child_death: Literal["fizzle", "retry"] = Field(
        default="retry",
        description="What becomes of a job whose process died (killed, out of memory, crashed): "
        "FIZZLED at once, or run again until the job's max_attempts.",
    )
    on_outage: Literal["fizzle", "retry"] = Field(
        default="retry",
        description="What becomes of a job that failed because its store, registry or Docker "
        "Engine is away: FIZZLED at once, or run again, on any executor, as often as the "
        "dispatcher's infrastructure_retries say.",
    )
    job_timeout: float = Field(
        default=DEFAULT_TIMEOUT,
        gt=0,
        description="How long a program or container may run if its task names no timeout.",
    )
    keep_directories: bool = Field(
        default=True,
        description="Keep the launch directories of Fireworks, as rlaunch does. "
        "Those of raw jobs are always removed.",
    )
    allowed_images: tuple[str, ...] = Field(
        default=(),
        description="Patterns of the images that jobs may use, such as "
        "europe-docker.pkg.dev/my-project/*; without any, all.",
        json_schema_extra={"env": "PORTFIRE_ALLOWED_IMAGES"},
    )
    allowed_mounts: tuple[str, ...] = Field(
        default=(),
        description="Absolute paths of directories of this machine which jobs may mount in their "
        "containers, or anything below; without any, none.",
        json_schema_extra={"env": "PORTFIRE_ALLOWED_MOUNTS"},
    )
    allowed_firetasks: tuple[str, ...] = Field(
        default=(),
        description="Patterns of the Firetasks that may run here, as in `_fw_name`; without any, "
        "all.",
        json_schema_extra={"env": "PORTFIRE_ALLOWED_FIRETASKS"},
    )
    allowed_capabilities: tuple[str, ...] = Field(
        default=(),
        description="Linux capabilities that jobs may have in their containers, such as "
        "SYS_PTRACE; without any, none.",
        json_schema_extra={"env": "PORTFIRE_ALLOWED_CAPABILITIES"},
    )
    max_memory: str = Field(
        default="",
        description="What a container may use at most, such as 8g; one that names no limit has "
        "this one. Without it, there is none.",
        json_schema_extra={"env": "PORTFIRE_MAX_MEMORY"},
    )
    max_cpus: float = Field(
        default=0.0,
        ge=0,
        description="Processors that a container may use at most, likewise; 0 is no limit.",
        json_schema_extra={"env": "PORTFIRE_MAX_CPUS"},
    )
    stop_grace: float = Field(
        default=DEFAULT_STOP_GRACE,
        ge=0,
        description="A container that is stopped has this long from SIGTERM to SIGKILL if its task "
        "does not say. On a VM that is preempted it has 4 at most.",
        json_schema_extra={"env": "PORTFIRE_STOP_GRACE"},
    )
    container_network: str = Field(
        default="",
        description="The engine's network for containers whose task names none (`none`: they have "
        "no network). Without it, the engine's bridge.",
        json_schema_extra={"env": "PORTFIRE_CONTAINER_NETWORK"},
    )
    log_tasks: bool = Field(
        default=False,
        description="Log the lines that containers print as they come, at most 100 a second of "
        "each job. In Python they go to logger portfire.task, at DEBUG.",
        json_schema_extra={"env": "PORTFIRE_LOG_TASKS"},
    )
    samples: bool = Field(
        default=False,
        description="Publish every 2 seconds, as events, what each program or container uses. Its "
        "peaks and means are told at its end in any case.",
        json_schema_extra={"env": "PORTFIRE_SAMPLES"},
    )
    events: bool = Field(
        default=True,
        description="Publish events. Without them, monitors and reports know nothing of this "
        "executor, and jobs go on as ever.",
        json_schema_extra={"env": "PORTFIRE_EVENTS"},
    )
    control: bool = Field(
        default=True,
        description="Listen for cancelled jobs; needs the right to make a subscription. "
        "Without it, a cancelled job runs to its end and its result is dropped.",
    )

    @field_validator(
        "allowed_images",
        "allowed_mounts",
        "allowed_firetasks",
        "allowed_capabilities",
        mode="before",
    )
    @classmethod
    def _split(cls, names: Any) -> Any:
        """An environment variable has them with commas between."""
        return [name.strip() for name in names.split(",")] if isinstance(names, str) else names

    @field_validator("allowed_mounts")
    @classmethod
    def _absolute(cls, paths: tuple[str, ...]) -> tuple[str, ...]:
        if wrong := [path for path in paths if not path.startswith("/")]:
            raise ValueError(f"must be absolute paths, which {wrong[0]!r} is not")
        return paths

    @field_validator("allowed_capabilities")
    @classmethod
    def _as_the_engine_names_them(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name.upper().removeprefix("CAP_") for name in names)

    @field_validator("max_memory")
    @classmethod
    def _size(cls, text: str) -> str:
        if text:
            _bytes(text)
        return text

    @field_validator("container_network")
    @classmethod
    def _network_of_its_own(cls, name: str) -> str:
        if re.fullmatch(r"host|container:.*", name):
            raise ValueError("must be bridge, none, or a network that the engine has")
        return name

    @property
    def policy(self) -> Policy:
        """What jobs may do here."""
        return Policy(
            allowed_images=self.allowed_images,
            allowed_mounts=self.allowed_mounts,
            allowed_firetasks=self.allowed_firetasks,
            allowed_capabilities=self.allowed_capabilities,
            max_memory=_bytes(self.max_memory) if self.max_memory else None,
            max_cpus=self.max_cpus or None,
        )


def _bytes(text: str) -> int:
    # Imported late: only who sets it needs the Docker SDK.
    from executor.containers.parameters import byte_size

    try:
        return byte_size(text, "max_memory")
    except JobError as exc:
        raise ValueError("must be a size such as 512m or 8g") from exc
