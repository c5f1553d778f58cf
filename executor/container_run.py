"""One container from creation to removal; what the engine says is the truth.

The calls that wait are short and repeated, so that a stop is seen in time, and a dropped connection
leads to a question (inspect), never to a guess. The engine's own auto-removal is not used: it loses
the exit code and the output.
"""

from __future__ import annotations

import logging
import os
import re
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import requests
from docker.errors import APIError, DockerException
from docker.types import LogConfig, Mount

from executor.command import GRACE, Ended
from executor.container_output import copy_output
from executor.docker_engine import connected, engine_errors
from executor.failures import one_line
from messaging.errors import JobInterrupted, ServiceError

logger = logging.getLogger(__name__)

_WAIT = 10.0
_RETRY = 0.2
#: Seconds that an engine may be away (a restart) before its container is given up.
_PATIENCE = 60.0


@dataclass(frozen=True, kw_only=True)
class ContainerSpec:
    """A container to run."""

    #: Id of an image that the engine has.
    image: str
    #: A list, or a text that is split as a shell would, without a shell.
    command: str | Sequence[str]
    #: (path here, path in the container): bind mounts, writable. The paths here exist.
    mounts: tuple[tuple[Path, str], ...] = ()
    labels: Mapping[str, str]
    #: Wall-clock seconds.
    timeout: float


@dataclass(frozen=True, kw_only=True)
class ContainerEnded:
    """How a container ended."""

    ended: Ended
    #: What the engine says; not reliable in either direction, so only reported.
    oom_killed: bool
    #: The engine's own word on a failure to run it, or ``""``.
    error: str


def run_container(client: docker.APIClient, spec: ContainerSpec, printed: Path) -> ContainerEnded:
    """Run a container to its end as this process's user; what it prints goes to `printed`.

    It is removed in every ending. Raises JobError when the engine refuses it, ServiceError when the
    engine goes away; JobInterrupted stops the container first.
    """
    name = _name(spec)
    started = time.monotonic()
    try:
        with engine_errors("creating the container"):
            _create(client, spec, name)
        with engine_errors("starting the container"):
            client.start(name)
        timed_out = not _wait(client, name, started + spec.timeout)
        if timed_out:
            _stop(client, name)
        state = _state(client, name)
        seconds = time.monotonic() - started
        with engine_errors("reading the container's output"):
            copy_output(client, name, printed)
    except JobInterrupted:
        _stop(client, name)
        raise
    finally:
        # By name: also when the answer to its creation never came.
        _remove(client, name)
    return ContainerEnded(
        ended=Ended(
            exit_code=int(state["ExitCode"]), timed_out=timed_out, metrics={"seconds": seconds}
        ),
        oom_killed=bool(state.get("OOMKilled")),
        error=str(state.get("Error") or ""),
    )


def remove_labelled(labels: Sequence[str]) -> int:
    """Remove the containers that bear all `labels` (``name=value``), running or not; how many.

    Raises ServiceError when the engine is away.
    """
    with connected() as client:
        with engine_errors("listing containers"):
            found = client.containers(all=True, filters={"label": list(labels)})
        return sum(_remove(client, container["Id"]) for container in found)


def _create(client: docker.APIClient, spec: ContainerSpec, name: str) -> None:
    mounts = [Mount(target, str(source), type="bind") for source, target in spec.mounts]
    # The log of this driver can be read back whole; the size goes over a limit among the engine's
    # defaults, beyond which it would drop the beginning.
    log = LogConfig(type=LogConfig.types.JSON, config={"max-size": "1000t"})
    client.create_container(
        spec.image,
        command=spec.command if isinstance(spec.command, str) else list(spec.command),
        name=name,
        user=f"{os.getuid()}:{os.getgid()}",
        labels=dict(spec.labels),
        host_config=client.create_host_config(mounts=mounts, log_config=log),
    )


def _wait(client: docker.APIClient, name: str, deadline: float) -> bool:
    """Wait for the container's end; False when `deadline` came first."""
    while (remaining := deadline - time.monotonic()) > 0:
        try:
            # A float is fine for the HTTP request behind it; the stubs say int.
            client.wait(name, timeout=max(0.01, min(_WAIT, remaining)))  # type: ignore[arg-type]
        except (requests.ConnectionError, requests.Timeout):
            # Nothing within the time, by either name, or the engine is away: ask.
            time.sleep(_RETRY)
        except (APIError, DockerException):
            logger.debug("waiting for %s failed", name, exc_info=True)
            time.sleep(_RETRY)
        if not _state(client, name)["Running"]:
            return True
    return False


def _state(client: docker.APIClient, name: str) -> dict[str, Any]:
    """The engine's word on the container. Raises ServiceError when it is away for a minute."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            with engine_errors("asking for the container's state"):
                state: dict[str, Any] = client.inspect_container(name)["State"]
                return state
        except ServiceError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_RETRY)


def _stop(client: docker.APIClient, name: str) -> None:
    """SIGTERM, a grace, SIGKILL. A failure is left to the removal, which kills too."""
    try:
        client.stop(name, timeout=int(GRACE))
    except (DockerException, requests.RequestException) as exc:
        logger.debug("stopping %s: %s", name, one_line(exc))


def _remove(client: docker.APIClient, name: str) -> bool:
    try:
        client.remove_container(name, force=True, v=True)
    except APIError as exc:
        if exc.status_code not in (404, 409):  # never made; somebody else removes it
            logger.warning("container %s was not removed: %s", name, one_line(exc))
        return False
    except (DockerException, requests.RequestException) as exc:
        logger.warning("container %s was not removed: %s", name, one_line(exc))
        return False
    return True


def _name(spec: ContainerSpec) -> str:
    job = "-".join(spec.labels.values())
    safe = re.sub(r"[^A-Za-z0-9_.-]+", "-", job)[:100]
    return f"portfire-{safe}-{uuid.uuid4().hex[:8]}"
