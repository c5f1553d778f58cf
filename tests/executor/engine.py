"""The Docker Engine as the tests of executors see it."""

from __future__ import annotations

import contextlib
import uuid
from typing import Any

import docker


class Engine:
    """The engine's containers that belong to one test."""

    def __init__(self, client: docker.DockerClient, image: str) -> None:
        self.mark = uuid.uuid4().hex
        self._client = client
        self._image = image

    def name(self, word: str) -> str:
        """A name of this test's own for a job or an executor."""
        return f"{word}-{self.mark}"

    def begin(self, **labels: str) -> str:
        """Start a container with ``portfire.`` labels; its id."""
        container = self._client.containers.run(
            self._image,
            ["sleep", "300"],
            labels={"test": self.mark, **{f"portfire.{k}": v for k, v in labels.items()}},
            detach=True,
        )
        return str(container.id)

    def of(self, **labels: str) -> list[str]:
        """The ids of the containers that have these ``portfire.`` labels."""
        wanted: Any = {"label": [f"portfire.{name}={value}" for name, value in labels.items()]}
        found = self._client.api.containers(all=True, filters=wanted)
        return [container["Id"] for container in found]

    def has(self, container: str) -> bool:
        return container in [found["Id"] for found in self._client.api.containers(all=True)]

    def remove_all(self) -> None:
        wanted: Any = {"label": f"test={self.mark}"}
        for container in self._client.containers.list(all=True, filters=wanted):
            with contextlib.suppress(docker.errors.APIError):
                container.remove(force=True)

    def task(self, line: str, **parameters: Any) -> dict[str, Any]:
        """A DockerTask that runs a line of shell."""
        return {
            "_fw_name": "{{executor.docker_task.DockerTask}}",
            "name": "t",
            "image": self._image,
            "command": ["sh", "-c", line],
            "internal_prefix": "/data",
            "storage_prefix": "run",
            **parameters,
        }
