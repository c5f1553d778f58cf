"""DockerTask's parameters of the container itself, checked and in the engine's units."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal, get_args

from executor.containers.spec import PIDS_LIMIT, Resources
from executor.task_parameters import flag, listed, mapping
from messaging.errors import JobError

PullPolicy = Literal["always", "if-not-present", "never"]

#: In the order of the docs.
PARAMETERS = (
    "environment",
    "entrypoint",
    "working_dir",
    "user",
    "cpus",
    "memory",
    "memory_swap",
    "retry_memory",
    "shm_size",
    "gpus",
    "pids",
    "network",
    "read_only",
    "capabilities",
    "mounts",
    "labels",
    "platform",
    "pull",
    "stop_grace",
    "read_only_inputs",
    "reuse",
)

_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([bkmgt]?)(?:i?b)?", re.IGNORECASE)
#: The engine refuses less.
_LEAST_MEMORY = 6 << 20
_OWN_LABELS = "portfire."
_NETWORKS_REFUSED = re.compile(r"host|container:.*", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class ExtraMount:
    """A path of the executor's machine that a task asks for besides its inputs and outputs."""

    source: str
    target: str
    read_only: bool = True


@dataclass(frozen=True, kw_only=True)
class ContainerParameters:
    """What a task says of its container; None and empty where it says nothing."""

    environment: Mapping[str, str] = field(default_factory=dict)
    entrypoint: str | list[str] | None = None
    working_dir: str | None = None
    #: ``uid:gid`` or a name in the image; None: the executor's own.
    user: str | None = None
    resources: Resources = field(default_factory=Resources)
    #: Bytes for each try after one that ran out of memory.
    retry_memory: tuple[int, ...] = ()
    network: str | None = None
    read_only: bool = False
    capabilities: tuple[str, ...] = ()
    mounts: tuple[ExtraMount, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    platform: str | None = None
    pull: PullPolicy = "if-not-present"
    #: Seconds; None: the executor's default.
    stop_grace: float | None = None
    read_only_inputs: bool = False
    #: Whether jobs of the same settings may run one after the other in one container.
    reuse: bool = False


def container_parameters(task: Mapping[str, Any]) -> ContainerParameters:
    """Read `task`; raises JobError that names the parameter and what was expected."""
    return ContainerParameters(
        environment=_texts(task, "environment"),
        entrypoint=_entrypoint(task),
        working_dir=_absolute(task, "working_dir"),
        user=_text(task, "user"),
        resources=_resources(task),
        retry_memory=_retry_memory(task),
        network=_network(task),
        read_only=flag(task, "read_only"),
        capabilities=_capabilities(task),
        mounts=tuple(_mount(mount) for mount in listed(task, "mounts")),
        labels=_labels(task),
        platform=_text(task, "platform"),
        pull=_pull(task),
        stop_grace=_number(task, "stop_grace", least=0),
        read_only_inputs=flag(task, "read_only_inputs"),
        reuse=flag(task, "reuse"),
    )


def byte_size(value: object, parameter: str) -> int:
    """Bytes of ``512m``, ``4g``, ``1.5GiB`` or a number; units are the engine's: powers of 1,024.

    Raises JobError.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    size = int(float(match[1]) * _UNITS[match[2].lower()]) if match else 0
    if size <= 0:
        raise JobError(f"{parameter} is {value!r}: expected a size such as 512m or 4g")
    return size


def _resources(task: Mapping[str, Any]) -> Resources:
    pids = _number(task, "pids", least=1)
    return Resources(
        cpus=_number(task, "cpus", least=0.01),
        memory=_memory(task.get("memory"), "memory"),
        memory_swap=_memory(task.get("memory_swap"), "memory_swap"),
        gpus=_gpus(task.get("gpus")),
        shm_size=_size(task.get("shm_size"), "shm_size"),
        pids=PIDS_LIMIT if pids is None else int(pids),
    )


def _retry_memory(task: Mapping[str, Any]) -> tuple[int, ...]:
    sizes = tuple(_required_memory(size, "retry_memory") for size in listed(task, "retry_memory"))
    first = _memory(task.get("memory"), "memory")
    if not sizes:
        return ()
    if first is None:
        raise JobError("retry_memory needs memory: without a limit there is nothing to raise")
    steps = [first, *sizes]
    if any(later <= earlier for earlier, later in pairwise(steps)):
        raise JobError(f"retry_memory is {task['retry_memory']!r}: expected sizes that grow")
    return sizes


def _memory(value: object, parameter: str) -> int | None:
    return None if value is None else _required_memory(value, parameter)


def _required_memory(value: object, parameter: str) -> int:
    size = byte_size(value, parameter)
    if size < _LEAST_MEMORY:
        raise JobError(f"{parameter} is {value!r}: the engine gives a container at least 6m")
    return size


def _size(value: object, parameter: str) -> int | None:
    return None if value is None else byte_size(value, parameter)


def _gpus(value: object) -> int:
    if value is None:
        return 0
    if value == "all":
        return -1
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    raise JobError(f"gpus is {value!r}: expected a number of them, or 'all'")


def _network(task: Mapping[str, Any]) -> str | None:
    network = _text(task, "network")
    if network is not None and _NETWORKS_REFUSED.fullmatch(network):
        raise JobError(
            f"network is {network!r}: a task gets no other's network; expected bridge, none, or "
            "one that the engine has"
        )
    return network


def _capabilities(task: Mapping[str, Any]) -> tuple[str, ...]:
    names = []
    for name in listed(task, "capabilities"):
        if not isinstance(name, str) or not re.fullmatch(r"(CAP_)?[A-Z_]+", name.upper()):
            raise JobError(f"capabilities has {name!r}: expected names such as NET_BIND_SERVICE")
        names.append(name.upper().removeprefix("CAP_"))
    return tuple(names)


def _mount(mount: object) -> ExtraMount:
    wrong = JobError(
        f"mounts has {mount!r}: expected source, target (absolute paths) and perhaps read_only"
    )
    if not isinstance(mount, Mapping) or not {*mount} <= {"source", "target", "read_only"}:
        raise wrong
    source, target, read_only = mount.get("source"), mount.get("target"), mount.get("read_only")
    if not all(isinstance(path, str) and path.startswith("/") for path in (source, target)):
        raise wrong
    if read_only not in (None, True, False):
        raise wrong
    return ExtraMount(source=str(source), target=str(target), read_only=read_only is not False)


def _labels(task: Mapping[str, Any]) -> dict[str, str]:
    labels = _texts(task, "labels")
    for name in labels:
        if name.startswith(_OWN_LABELS):
            raise JobError(f"labels has {name!r}: names that begin with 'portfire.' are Portfire's")
    return labels


def _pull(task: Mapping[str, Any]) -> PullPolicy:
    value = task.get("pull")
    if value is None:
        return "if-not-present"
    for policy in get_args(PullPolicy):
        if value == policy:
            return policy  # type: ignore[no-any-return]
    raise JobError(f"pull is {value!r}: expected {', '.join(get_args(PullPolicy))}")


def _entrypoint(task: Mapping[str, Any]) -> str | list[str] | None:
    value = task.get("entrypoint")
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Sequence) and all(isinstance(part, str) for part in value):
        return list(value)
    raise JobError(f"entrypoint is {value!r}: expected a text, or a list of texts")


def _texts(task: Mapping[str, Any], parameter: str) -> dict[str, str]:
    found = {}
    for name, value in mapping(task, parameter).items():
        if not isinstance(name, str) or not name or "=" in name or "\0" in f"{name}{value}":
            raise JobError(f"{parameter} has the name {name!r}: expected a text without '='")
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise JobError(f"{parameter}.{name} is a {type(value).__name__}: expected a text")
        found[name] = str(value)
    return found


def _text(task: Mapping[str, Any], parameter: str) -> str | None:
    value = task.get(parameter)
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        raise JobError(f"{parameter} is {value!r}: expected a text")
    return value.strip()


def _absolute(task: Mapping[str, Any], parameter: str) -> str | None:
    value = _text(task, parameter)
    if value is not None and not value.startswith("/"):
        raise JobError(f"{parameter} is {value!r}: expected an absolute path in the container")
    return value


def _number(task: Mapping[str, Any], parameter: str, *, least: float) -> float | None:
    value = task.get(parameter)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= least:
        raise JobError(f"{parameter} is {value!r}: expected a number, at least {least:g}")
    return float(value)
