"""What an image gives to its containers, and how a task's own settings go over it."""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import docker

from executor.containers.engine import engine_errors
from executor.containers.spec import ContainerSpec
from messaging.errors import JobError


@dataclass(frozen=True, kw_only=True)
class ImageDefaults:
    """An image's settings for containers that say nothing else."""

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    #: Names of variables.
    environment: frozenset[str] = frozenset()
    working_dir: str = "/"

    @classmethod
    def of(cls, client: docker.APIClient, image: str) -> ImageDefaults:
        """Ask the engine. Raises JobError when it has no such image, else ServiceError."""
        with engine_errors(f"looking at image '{image}'"):
            # The stubs have no types here.
            found: Mapping[str, Any] = client.inspect_image(image)  # type: ignore[no-untyped-call]
        config = found.get("Config") or {}
        return cls(
            entrypoint=tuple(config.get("Entrypoint") or ()),
            command=tuple(config.get("Cmd") or ()),
            environment=frozenset(text.partition("=")[0] for text in config.get("Env") or ()),
            working_dir=config.get("WorkingDir") or "/",
        )

    def words(self, spec: ContainerSpec) -> list[str]:
        """Program and arguments of a container, as the engine would put them together.

        Raises JobError when there are none.
        """
        entrypoint, command = _split(spec.entrypoint), _split(spec.command)
        if not entrypoint:
            command = command or list(self.command)
            if spec.entrypoint is None:
                entrypoint = list(self.entrypoint)
        words = ([] if entrypoint == [""] else entrypoint) + command
        if not words:
            raise JobError(f"image '{spec.image}' has no command of its own: name one")
        if any("\0" in word for word in words):
            raise JobError("the command has a NUL character, which no program can be given")
        return words

    def directory(self, spec: ContainerSpec) -> str:
        """Absolute path of the directory in which a container's program starts."""
        return posixpath.normpath(posixpath.join("/", spec.working_dir or self.working_dir))


def _split(words: str | Sequence[str] | None) -> list[str]:
    return shlex.split(words) if isinstance(words, str) else list(words or ())
