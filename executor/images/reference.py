"""The name of an image, always with its tag or digest, and the platform that it is wanted for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from docker.auth import resolve_repository_name
from docker.errors import DockerException
from docker.utils import parse_repository_tag

from messaging.errors import JobError

_ID = re.compile(r"sha256:[0-9a-f]{64}")
#: Other names of processors, as the engine understands them: (architecture, variant).
_ARCHITECTURES = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "i386": ("386", ""),
    "aarch64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
}
_SYSTEMS = ("linux", "windows", "freebsd", "darwin")
#: The variant that is meant where none is named.
_DEFAULT_VARIANTS = {"arm64": "v8", "arm": "v7"}


@dataclass(frozen=True, slots=True)
class ImageReference:
    """What an image is called. ``str()`` has the tag or digest, also where the text had none."""

    #: With the registry, without the tag (unless there is a digest after it).
    repository: str
    #: ``latest`` where the text had none.
    tag_or_digest: str
    #: Host and port; Docker Hub is ``docker.io``.
    registry: str
    #: Whether it is an image's id, which no registry knows.
    is_id: bool

    @classmethod
    def parse(cls, text: str) -> ImageReference:
        """The reference in ``name``, ``name:tag``, ``name@sha256:…`` or ``sha256:…`` (an id).

        Raises JobError when it is none; the engine checks it further.
        """
        repository, version = parse_repository_tag(text)
        try:
            registry, name = resolve_repository_name(repository)
        except (DockerException, IndexError) as exc:
            raise JobError(f"image {text!r}: expected name:tag or name@sha256:...") from exc
        if not name or version == "" or any(character.isspace() for character in text):
            raise JobError(f"image {text!r}: expected name:tag or name@sha256:...")
        return cls(repository, version or "latest", registry, bool(_ID.fullmatch(text)))

    def __str__(self) -> str:
        between = "@" if ":" in self.tag_or_digest else ":"
        return f"{self.repository}{between}{self.tag_or_digest}"


def is_for(details: Mapping[str, Any], platform: str | None) -> bool:
    """Whether the image that the engine described in `details` is one for `platform`.

    None is any platform. Only what `platform` names is compared: ``linux``, ``arm64``,
    ``linux/arm64``, ``linux/arm/v7``.
    """
    if platform is None:
        return True
    system, architecture, variant = _parts(platform)
    its_system, its_architecture, its_variant = _parts(platform_of(details))
    return (
        system in ("", its_system)
        and architecture in ("", its_architecture)
        and variant in ("", its_variant)
    )


def platform_of(details: Mapping[str, Any]) -> str:
    """``linux/amd64`` and the like, of an image that the engine described."""
    parts = (details.get("Os"), details.get("Architecture"), details.get("Variant"))
    return "/".join(str(part) for part in parts if part)


def _parts(platform: str) -> tuple[str, str, str]:
    """System, architecture and variant, each ``""`` where it is not named or the usual one."""
    parts = platform.lower().split("/")
    if parts[0] not in _SYSTEMS:
        parts.insert(0, "")
    system, architecture, variant = (*parts, "", "")[:3]
    architecture, implied = _ARCHITECTURES.get(architecture, (architecture, ""))
    variant = variant or implied
    return system, architecture, "" if _DEFAULT_VARIANTS.get(architecture) == variant else variant
