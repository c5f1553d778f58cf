"""Finding the containers of jobs that cannot clean up after themselves any more.

Importing this is cheap: the Docker SDK is loaded only when there is an engine to ask.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING

from executor.failures import one_line
from messaging.errors import PortfireError

if TYPE_CHECKING:
    from executor.context import JobContext

logger = logging.getLogger(__name__)

EXECUTOR_LABEL = "portfire.executor"
JOB_LABEL = "portfire.job"
ATTEMPT_LABEL = "portfire.attempt"
#: The installation's, in which a job's id is unique.
PREFIX_LABEL = "portfire.prefix"
SOCKET = "unix:///var/run/docker.sock"
_WARM = "warm-"


def job_labels(context: JobContext) -> dict[str, str]:
    """Labels by which a container is found again when its job's process is gone."""
    return {
        EXECUTOR_LABEL: context.executor,
        JOB_LABEL: context.job,
        ATTEMPT_LABEL: str(context.attempt),
        PREFIX_LABEL: context.prefix,
    }


def warm_job(slot: str | int, pid: int) -> str:
    """What stands in place of a job on the containers that a slot's child `pid` keeps."""
    return f"{_WARM}{slot}-{pid}"


def remove_containers(
    *,
    executor: str | None = None,
    job: str | None = None,
    attempt: int | None = None,
    prefix: str | None = None,
) -> int:
    """Kill and remove the containers whose labels say all that is given; how many.

    Never raises: an engine that is away or slow is logged, and the answer is what was removed by
    then. Thread-safe; may block for some tens of seconds.
    """
    try:
        return remove_all(executor=executor, job=job, attempt=attempt, prefix=prefix)
    except PortfireError as exc:
        logger.warning("containers of %s were not removed: %s", job or executor, one_line(exc))
        return 0


def remove_all(
    *,
    executor: str | None = None,
    job: str | None = None,
    attempt: int | None = None,
    prefix: str | None = None,
) -> int:
    """The same, but raises ServiceError when an engine that is there does not answer."""
    labels = {
        EXECUTOR_LABEL: executor,
        JOB_LABEL: job,
        ATTEMPT_LABEL: attempt,
        PREFIX_LABEL: prefix,
    }
    wanted = [f"{name}={value}" for name, value in labels.items() if value is not None]
    assert wanted, "that would be everybody's"
    if _engine_is_absent():
        return 0
    from executor.containers.run import remove_labelled

    return remove_labelled(wanted)


def remove_unheld(executor: str, held: Callable[[], Collection[tuple[str, int]]]) -> int:
    """Remove an executor's containers whose job and attempt are not among those `held`; how many.

    `held` is asked after the engine: a container is never there before its job. Kept containers
    are their slot's. Never raises. May block for some tens of seconds.
    """
    if _engine_is_absent():
        return 0
    from executor.containers.engine import connected, engine_errors
    from executor.containers.run import remove_container

    wanted = {"label": f"{EXECUTOR_LABEL}={executor}"}
    count = 0
    try:
        with connected() as client:
            with engine_errors("listing containers"):
                found = client.containers(all=True, filters=wanted)
            jobs = {(job, str(attempt)) for job, attempt in held()}
            for container in found:
                labels = container["Labels"]
                job, attempt = labels.get(JOB_LABEL, ""), labels.get(ATTEMPT_LABEL, "")
                if not job.startswith(_WARM) and (job, attempt) not in jobs:
                    count += remove_container(client, container["Id"])
    except PortfireError as exc:
        logger.warning("containers of %s were not removed: %s", executor, one_line(exc))
    return count


def engine_address() -> str:
    """``DOCKER_HOST``, else the usual socket."""
    return os.environ.get("DOCKER_HOST") or SOCKET


def _engine_is_absent() -> bool:
    scheme, _, path = engine_address().partition("://")
    return scheme == "unix" and not Path(path).exists()
