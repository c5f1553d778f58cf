"""What an executor lets jobs do: its owner's word, asked before anything is pulled or started."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from messaging.errors import JobError

if TYPE_CHECKING:
    # Not at run time: the daemon, which needs no Docker SDK, imports this.
    from executor.containers.parameters import ContainerParameters

_SOCKETS = ("/var/run/docker.sock", "/run/docker.sock", "/run/containerd", "/run/podman")


class PolicyError(JobError):
    """The executor's settings do not allow what a job asks for; says which setting."""


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Limits for the jobs of one executor. An empty tuple of names allows every one."""

    #: Patterns (``*`` and ``?``) of whole image names: ``europe-docker.pkg.dev/my-project/*``.
    allowed_images: tuple[str, ...] = ()
    #: Directories below which extra mounts may begin; empty: none may.
    allowed_mounts: tuple[str, ...] = ()
    #: Patterns of Firetask names, as in ``_fw_name``.
    allowed_firetasks: tuple[str, ...] = ()
    #: The capabilities that a task may name.
    allowed_capabilities: tuple[str, ...] = ()
    #: Bytes that one container may use; one that names no limit gets this one.
    max_memory: int | None = None
    #: Processors likewise.
    max_cpus: float | None = None

    def check_firetasks(self, names: Iterable[str]) -> None:
        """Raise PolicyError for the first of `names` that is not allowed."""
        for name in names:
            if not _matches(name, self.allowed_firetasks):
                raise PolicyError(
                    f"Firetask {name!r} is not allowed on this executor, whose setting "
                    f"allowed_firetasks has {', '.join(self.allowed_firetasks)}"
                )

    def check_container(self, image: str, wanted: ContainerParameters) -> None:
        """Raise PolicyError unless a container of `image` may be what is `wanted`."""
        if not _matches(image, self.allowed_images):
            raise PolicyError(
                f"image {image!r} is not allowed on this executor, whose setting allowed_images "
                f"has {', '.join(self.allowed_images)}"
            )
        for mount in wanted.mounts:
            self._check_mount(mount.source)
        for name in wanted.capabilities:
            if name not in self.allowed_capabilities:
                raise PolicyError(
                    f"capability {name!r} is not allowed on this executor: its setting "
                    f"allowed_capabilities has {', '.join(self.allowed_capabilities) or 'none'}"
                )
        self._check_limits(wanted)

    def _check_limits(self, wanted: ContainerParameters) -> None:
        memory = max([wanted.resources.memory or 0, *wanted.retry_memory])
        if self.max_memory is not None and memory > self.max_memory:
            raise PolicyError(
                f"memory of {memory:,} bytes is over this executor's max_memory of "
                f"{self.max_memory:,}"
            )
        cpus = wanted.resources.cpus or 0
        if self.max_cpus is not None and cpus > self.max_cpus:
            raise PolicyError(
                f"cpus of {cpus:g} is over this executor's max_cpus {self.max_cpus:g}"
            )

    def _check_mount(self, source: str) -> None:
        if ".." in PurePosixPath(source).parts:
            raise PolicyError(f"mount of {source!r} has a '..' part: expected a plain path")
        real = Path(source).resolve()
        if any(real.is_relative_to(path) or Path(path).is_relative_to(real) for path in _SOCKETS):
            raise PolicyError(f"mount of {source!r} is refused: it would give away the engine")
        if not any(real.is_relative_to(Path(path).resolve()) for path in self.allowed_mounts):
            raise PolicyError(
                f"mount of {source!r} is not allowed on this executor: its setting allowed_mounts "
                f"has {', '.join(self.allowed_mounts) or 'none'}"
            )
        if not real.exists():
            raise PolicyError(f"mount of {source!r}: there is no such path on this executor")


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)
