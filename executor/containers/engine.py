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
_LOCAL = ("unix://", "http+unix://")
#: How Podman's answers name their server.
_PODMAN = "Libpod/"


class _Client(docker.APIClient):
    """Learns from each answer whether the engine is Podman, which need not be asked for then."""

    podman = False

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        response = super().send(request, **kwargs)
        self.podman = response.headers.get("Server", "").startswith(_PODMAN)
        return response


def is_podman(client: docker.APIClient) -> bool:
    """Whether a connection of `connect`, which was used before, leads to Podman."""
    return isinstance(client, _Client) and client.podman


def connect(version: str = "auto") -> docker.APIClient:
    """A connection for one thread. Raises what the SDK raises.

    Follows ``DOCKER_HOST``, ``DOCKER_TLS_VERIFY`` and ``DOCKER_CERT_PATH``, but not the Docker
    command's contexts: a daemon does what its environment says. Who knows the API's `version` from
    another connection spares the engine the question, for which it runs two programs.
    """
    settings: dict[str, Any] = {"base_url": SOCKET, **kwargs_from_env()}
    client = _Client(**settings, version=version, timeout=int(REQUEST_TIMEOUT))
    if str(settings["base_url"]).startswith(_LOCAL):
        # No proxy leads to a socket; looking for one is a fifth of a request's time.
        client.trust_env = False
    return client


@contextmanager
def connected() -> Iterator[docker.APIClient]:
    """`connect`, closed at the end. Raises ServiceError in one line when no engine answers."""
    client = connect_or_say()
    try:
        yield client
    finally:
        client.close()


def connect_or_say() -> docker.APIClient:
    """`connect`; raises ServiceError in one line when no engine answers."""
    try:
        return connect()
    except (DockerException, requests.RequestException, OSError) as exc:
        raise ServiceError(_absent()) from exc


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
