"""A Docker Engine, a registry with an image of the test's own, and a Docker config."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from executor.containers.engine import connected
from tests.services.registry import Registries
from tests.tasks.images.published import PublishedImage
from tests.tasks.images.registry_proxy import RegistryProxy

Configure = Callable[..., None]


@pytest.fixture
def client(docker_engine: str) -> Iterator[docker.APIClient]:  # noqa: ARG001 - started first
    """A connection to the engine."""
    with connected() as connection:
        yield connection


@pytest.fixture
def image(client: docker.APIClient, image_registries: Registries) -> Iterator[PublishedImage]:
    """An image in the open registry, and so in the locked one."""
    published = PublishedImage(client, image_registries.open)
    yield published
    published.remove()


@pytest.fixture
def proxy(image_registries: Registries) -> Iterator[RegistryProxy]:
    """A proxy before the open registry."""
    with RegistryProxy(image_registries.open) as serving:
        yield serving


@pytest.fixture(autouse=True)
def configure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Configure:
    """Writes the Docker config, of which there is none at first."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))

    def write(**config: Any) -> None:
        (tmp_path / "docker").mkdir(exist_ok=True)
        (tmp_path / "docker/config.json").write_text(json.dumps(config))

    return write


def login(user: str, password: str) -> dict[str, str]:
    """An entry of the Docker config's ``auths``."""
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}
