"""What a container is to be, as one frozen value, and its creation from that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
from docker.types import DeviceRequest, LogConfig, Mount

from executor.containers.engine import is_podman

#: Processes and threads of one container: plenty for a task, too few to choke the machine.
PIDS_LIMIT = 4096
#: Size of the temporary file system at /tmp of a container that is otherwise read-only, as tmpfs
#: takes it.
_TMPFS = "rw,nosuid,nodev,mode=1777"


@dataclass(frozen=True, kw_only=True)
class BindMount:
    """A path of this machine inside a container."""

    #: Absolute; exists.
    source: Path
    #: Absolute.
    target: str
    read_only: bool = False


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What a container may use; None is the engine's default, mostly no limit."""

    cpus: float | None = None
    #: Bytes.
    memory: int | None = None
    #: Bytes of memory and swap together; None with `memory`: no swap at all.
    memory_swap: int | None = None
    #: ``-1`` is all of them, 0 none.
    gpus: int = 0
    #: Bytes of /dev/shm.
    shm_size: int | None = None
    pids: int = PIDS_LIMIT


@dataclass(frozen=True, kw_only=True)
class ContainerSpec:
    """A container to run."""

    #: Id of an image that the engine has.
    image: str
    #: A list, or a text that is split as a shell would, without a shell.
    command: str | Sequence[str]
    #: None: the image's own.
    entrypoint: str | Sequence[str] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    #: More of the same that is another one for each job: a kept container serves them all.
    job_environment: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[BindMount, ...] = ()
    labels: Mapping[str, str]
    #: ``uid:gid``, or a name that the image knows.
    user: str
    working_dir: str | None = None
    resources: Resources = Resources()
    #: Name of a network of the engine; None: its bridge.
    network: str | None = None
    #: The image's files cannot be changed, and /tmp is in memory.
    read_only: bool = False
    #: All others are dropped.
    capabilities: tuple[str, ...] = ()
    platform: str | None = None
    #: Wall-clock seconds.
    timeout: float
    #: Seconds between SIGTERM and SIGKILL.
    stop_grace: float


def create_container(client: docker.APIClient, spec: ContainerSpec, name: str) -> str:
    """Create it, not yet started; returns its id. Raises what the SDK raises."""
    made: Mapping[str, Any] = client.create_container(
        spec.image,
        command=_words(spec.command),
        entrypoint=_words(spec.entrypoint),
        environment={**spec.environment, **spec.job_environment},
        name=name,
        user=spec.user,
        working_dir=spec.working_dir,
        labels=dict(spec.labels),
        platform=spec.platform,
        host_config=client.create_host_config(
            **_host_config(spec), log_config=_log_config(podman=is_podman(client))
        ),
    )
    return str(made["Id"])


def _host_config(spec: ContainerSpec) -> dict[str, Any]:
    wanted = spec.resources
    return {
        "mounts": [
            Mount(mount.target, str(mount.source), type="bind", read_only=mount.read_only)
            for mount in spec.mounts
        ],
        "nano_cpus": None if wanted.cpus is None else int(wanted.cpus * 1e9),
        "mem_limit": wanted.memory,
        # The engine's default is as much swap again, where running out of memory takes hours.
        "memswap_limit": wanted.memory if wanted.memory_swap is None else wanted.memory_swap,
        "shm_size": wanted.shm_size,
        "pids_limit": wanted.pids,
        "device_requests": _gpus(wanted.gpus),
        "network_mode": spec.network,
        "read_only": spec.read_only,
        "tmpfs": {"/tmp": _TMPFS} if spec.read_only else None,
        "cap_drop": ["ALL"],
        "cap_add": list(spec.capabilities),
        "security_opt": ["no-new-privileges"],
        # Collects the processes that a task leaves behind, and passes signals on: PID 1 ignores
        # those for which it has no handler.
        "init": True,
    }


def _log_config(*, podman: bool) -> LogConfig:
    """Keeps all output, so that it can be read again when the live stream breaks."""
    if podman:
        # It has no driver `local`; this is its file without a limit, where its default may be the
        # machine's journal, which drops lines of who prints many.
        return LogConfig(type="json-file")
    # The limit is one that nobody reaches: at the engine's own, the beginning would be dropped.
    return LogConfig(
        type="local", config={"max-size": "1000t", "max-file": "1", "compress": "false"}
    )


def _gpus(count: int) -> list[DeviceRequest] | None:
    return [DeviceRequest(count=count, capabilities=[["gpu"]])] if count else None


def _words(command: str | Sequence[str] | None) -> str | list[str] | None:
    return command if command is None or isinstance(command, str) else list(command)
