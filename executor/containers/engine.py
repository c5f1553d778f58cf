"""The connection to a Docker Engine, and its errors as ours. Nothing else touches the SDK's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import docker
import requests
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.utils import kwargs_from_env

from executor.containers.finding import SOCKET, engine_address
from executor.failures import one_line
from messaging.errors import JobError, PortfireError, ServiceError

#: Seconds for one request that the engine should answer at once.
REQUEST_TIMEOUT = 30.0


def connect() -> docker.APIClient:
    """A connection for one thread. Raises what the SDK raises.

    Follows ``DOCKER_HOST``, ``DOCKER_TLS_VERIFY`` and ``DOCKER_CERT_PATH``, but not the Docker
    command's contexts: a daemon does what its environment says.
    """
    settings: dict[str, Any] = {"base_url": SOCKET, **kwargs_from_env()}
    return docker.APIClient(**settings, version="auto", timeout=int(REQUEST_TIMEOUT))


@contextmanager
def connected() -> Iterator[docker.APIClient]:
    """`connect`, closed at the end. Raises ServiceError in one line when no engine answers."""
    try:
        client = connect()
    except (DockerException, requests.RequestException, OSError) as exc:
        raise ServiceError(_absent()) from exc
    try:
        yield client
    finally:
        client.close()


@contextmanager
def engine_errors(doing: str) -> Iterator[None]:
    """Turn what the SDK raises while `doing` (``starting the container``) into our errors.

    A refusal (4xx) is the job's fault; all else is infrastructure, also a container that somebody
    removed.
    """
    try:
        yield
    except APIError as exc:
        raise _refusal(exc, doing) from exc
    except (requests.ConnectionError, requests.Timeout) as exc:
        raise ServiceError(f"{doing}: {_absent()}") from exc
    except (DockerException, requests.RequestException) as exc:
        raise ServiceError(f"{doing}: {one_line(exc)}") from exc


def _refusal(exc: APIError, doing: str) -> PortfireError:
    said = " ".join(str(exc.explanation or exc).split())
    status = exc.status_code or 500
    gone = isinstance(exc, NotFound) and not isinstance(exc, ImageNotFound)
    ours = 400 <= status < 500 and status not in (408, 429) and not gone
    kind = JobError if ours else ServiceError
    return kind(f"{doing}: {said[:400]}")


def _absent() -> str:
    return (
        f"no Docker Engine answers at {engine_address()}: "
        "install or start it on this executor, or set DOCKER_HOST"
    )
