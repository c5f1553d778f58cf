"""Finding the containers of jobs that cannot clean up after themselves any more.

Importing this is cheap: the Docker SDK is loaded only when there is an engine to ask.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

from executor.failures import one_line
from messaging.errors import PortfireError

logger = logging.getLogger(__name__)

EXECUTOR_LABEL = "portfire.executor"
JOB_LABEL = "portfire.job"
ATTEMPT_LABEL = "portfire.attempt"
SOCKET = "unix:///var/run/docker.sock"


def job_labels(executor: str, job: str, attempt: int) -> dict[str, str]:
    """Labels by which a container is found again when its job's process is gone."""
    return {EXECUTOR_LABEL: executor, JOB_LABEL: job, ATTEMPT_LABEL: str(attempt)}


def remove_containers(*, executor: str, job: str | None = None, attempt: int | None = None) -> int:
    """Kill and remove the containers of an executor, or of one job or attempt of it; how many.

    Never raises: an engine that is away or slow is logged, and the answer is what was removed by
    then. Thread-safe; may block for some tens of seconds.
    """
    if _engine_is_absent():
        return 0
    from executor.container_run import remove_labelled

    labels = [f"{EXECUTOR_LABEL}={executor}"]
    labels += [f"{JOB_LABEL}={job}"] if job is not None else []
    labels += [f"{ATTEMPT_LABEL}={attempt}"] if attempt is not None else []
    try:
        return remove_labelled(labels)
    except PortfireError as exc:
        logger.warning("containers of %s were not removed: %s", job or executor, one_line(exc))
        return 0


def engine_address() -> str:
    """``DOCKER_HOST``, else the usual socket."""
    return os.environ.get("DOCKER_HOST") or SOCKET


def _engine_is_absent() -> bool:
    scheme, _, path = engine_address().partition("://")
    return scheme == "unix" and not Path(path).exists()
