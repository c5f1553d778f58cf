"""One container from creation to removal; what the engine says is the truth.

The engine's own auto-removal is not used: it loses the exit code and the output.
"""

from __future__ import annotations

import contextlib
import logging
import re
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import docker
import requests
from docker.errors import APIError, DockerException

from executor.containers.end import ContainerEnded
from executor.containers.engine import REQUEST_TIMEOUT, connected, engine_errors
from executor.containers.output import Listener, OutputFollower, copy_output
from executor.containers.spec import ContainerSpec, create_container
from executor.containers.stats import StatsSampler
from executor.containers.watch import KILLED, SLOW_ENGINE, ContainerWatch
from executor.failures import one_line
from messaging.errors import JobInterrupted, ServiceError

logger = logging.getLogger(__name__)

#: Seconds in which the rest of the output must come after the container's end.
_OUTPUT_PATIENCE = 30.0


def run_container(
    client: docker.APIClient, spec: ContainerSpec, printed: Path, listen: Listener | None = None
) -> ContainerEnded:
    """Run a container to its end; what it prints goes to the file `printed` and to `listen`.

    It is removed in every ending. Raises JobError when the engine refuses it, ServiceError when the
    engine goes away; JobInterrupted stops the container first.
    """
    run = _ContainerRun(client, spec, printed)
    try:
        run.start(listen)
        run.wait()
        return run.ended()
    except JobInterrupted:
        run.stop()
        raise
    finally:
        run.remove()


def remove_labelled(labels: Sequence[str]) -> int:
    """Remove the containers that bear all `labels` (``name=value``), running or not; how many.

    Raises ServiceError when the engine is away.
    """
    with connected() as client:
        with engine_errors("listing containers"):
            found = client.containers(all=True, filters={"label": list(labels)})
        return sum(remove_container(client, container["Id"]) for container in found)


def remove_container(client: docker.APIClient, container: str) -> bool:
    """Kill and remove it; whether that was done here. Never raises; a failure is logged."""
    try:
        client.remove_container(container, force=True, v=True)
    except APIError as exc:
        if exc.status_code not in (404, 409):  # never made; somebody else removes it
            logger.warning("container %s was not removed: %s", container, one_line(exc))
        return False
    except (DockerException, requests.RequestException) as exc:
        logger.warning("container %s was not removed: %s", container, one_line(exc))
        return False
    return True


class _ContainerRun:
    """One pass of `run_container`."""

    def __init__(self, client: docker.APIClient, spec: ContainerSpec, printed: Path) -> None:
        self._client = client
        self._spec = spec
        self._printed = printed
        # By name: it can be removed also when the answer to its creation never came.
        self._name = container_name(spec.labels)
        self._watch = ContainerWatch(client, self._name)
        self._follower: OutputFollower | None = None
        self._stats: StatsSampler | None = None
        self._timed_out = False
        #: Once we stop it: when all that there is to do must be done, by `time.monotonic`.
        self._latest: float | None = None
        self._began = time.monotonic()

    def start(self, listen: Listener | None) -> None:
        with engine_errors("creating the container"):
            create_container(self._client, self._spec, self._name)
            # Before the start: nothing that it prints is missed.
            self._follower = OutputFollower(self._client, self._name, self._printed, listen)
        with engine_errors("starting the container"):
            self._client.start(self._name)
        self._stats = StatsSampler(self._client, self._name)

    def wait(self) -> None:
        """Until it ends, or is stopped because its time is over."""
        if not self._watch.wait_until(self._began + self._spec.timeout):
            self._timed_out = True
            self.stop()

    def ended(self) -> ContainerEnded:
        """What is to be known of it, the rest of its output written."""
        metrics = {"seconds": time.monotonic() - self._began}
        if self._timed_out:
            return self._stopped(metrics)
        state = self._watch.state()
        metrics.update(self._used())
        self._finish_output()
        # The engine's clock, if it is another one, is not far off ours.
        since = time.time() - (time.monotonic() - self._began) - 1.0
        return self._watch.outcome(state, metrics, since)

    def stop(self) -> None:
        """SIGTERM, the grace, SIGKILL; back in time also when the engine is slow or away."""
        grace_ends = time.monotonic() + self._spec.stop_grace
        self._latest = grace_ends + SLOW_ENGINE
        # An engine that is away has no say in why we stop it; the removal kills too.
        with contextlib.suppress(ServiceError):
            self._watch.signal("SIGTERM", grace_ends)
            if not self._watch.wait_until(grace_ends):
                self._watch.signal("SIGKILL", self._latest)
                self._watch.wait_until(self._latest)

    def remove(self) -> None:
        """In every ending; what cannot be removed in time is left to `remove_labelled`."""
        self._used()
        if self._follower is not None:
            self._follower.close()
        with self._watch.timeout(self._patience(REQUEST_TIMEOUT)):
            remove_container(self._client, self._name)

    def _stopped(self, metrics: dict[str, Any]) -> ContainerEnded:
        """After our own stop: whatever the engine can still say in time."""
        metrics.update(self._used())
        code = KILLED
        with (
            contextlib.suppress(ServiceError),
            self._watch.timeout(self._patience(REQUEST_TIMEOUT)),
        ):
            state = self._watch.inspect()
            code = code if state["Running"] else int(state["ExitCode"])
        if self._follower is not None:
            self._follower.finish(self._patience(_OUTPUT_PATIENCE))
        return ContainerEnded(exit_code=code, timed_out=True, metrics=metrics)

    def _patience(self, seconds: float) -> float:
        """`seconds`, or what is left of them when we are stopping."""
        if self._latest is None:
            return seconds
        return max(0.1, min(seconds, self._latest - time.monotonic()))

    def _used(self) -> dict[str, Any]:
        return self._stats.finish() if self._stats is not None else {}

    def _finish_output(self) -> None:
        assert self._follower is not None
        if not self._follower.finish(_OUTPUT_PATIENCE) or self._watch.broken:
            with engine_errors("reading the container's output"):
                copy_output(self._client, self._name, self._printed)


def container_name(labels: Mapping[str, str]) -> str:
    """A name that no other container has, and that says which job's it is."""
    job = "-".join(labels.values())
    safe = re.sub(r"[^A-Za-z0-9_.-]+", "-", job)[:100]
    return f"portfire-{safe}-{uuid.uuid4().hex[:8]}"
