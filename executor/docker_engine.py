"""The connection to a Docker Engine, and its errors as ours. Nothing else touches the SDK's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import docker
import requests
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.utils import kwargs_from_env, parse_repository_tag

from executor.containers import SOCKET, engine_address
from executor.failures import one_line
from messaging.errors import JobError, PortfireError, ServiceError

#: Seconds for one request that the engine should answer at once.
REQUEST_TIMEOUT = 30.0


@contextmanager
def connected() -> Iterator[docker.APIClient]:
    """A connection for one thread. Raises ServiceError in one line when no engine answers.

    Follows ``DOCKER_HOST``, ``DOCKER_TLS_VERIFY`` and ``DOCKER_CERT_PATH``, but not the Docker
    command's contexts: a daemon does what its environment says.
    """
    try:
        settings: dict[str, Any] = {"base_url": SOCKET, **kwargs_from_env()}
        client = docker.APIClient(**settings, version="auto", timeout=int(REQUEST_TIMEOUT))
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


def ensure_image(client: docker.APIClient, image: str) -> str:
    """The id of `image`, pulled first if the engine does not have it.

    Without a tag or digest it is ``:latest``. Raises JobError when there is no such image, and
    ServiceError when it could not be pulled.
    """
    repository, tag = parse_repository_tag(image)
    explicit = f"{repository}{'@' if tag and ':' in tag else ':'}{tag or 'latest'}"
    found = _image_id(client, explicit)
    if found is None:
        _pull(client, repository, tag or "latest")
        found = _image_id(client, explicit)
    if found is None:
        raise ServiceError(f"image {explicit!r} was pulled, but the engine does not have it")
    return found


def _image_id(client: docker.APIClient, image: str) -> str | None:
    with engine_errors(f"looking for image {image!r}"):
        try:
            # The stubs have no types here.
            return str(client.inspect_image(image)["Id"])  # type: ignore[no-untyped-call]
        except ImageNotFound:
            return None


def _pull(client: docker.APIClient, repository: str, tag: str) -> None:
    doing = f"pulling image '{repository}:{tag}', which this engine does not have"
    try:
        with engine_errors(doing):
            for line in client.pull(repository, tag=tag, stream=True, decode=True):
                if "error" in line:
                    # The engine answers 200 and then fails in the stream.
                    raise ServiceError(f"{doing}: {' '.join(str(line['error']).split())}")
    except JobError as exc:
        raise JobError(f"{exc}: no such image, or no right to it") from exc


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
