"""``local``: the job works in the shared directory itself; nothing is staged."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from storage_backends.directories.backend import DirectoryBackend


class LocalBackend(DirectoryBackend):
    """A directory that every executor sees under the same path (option ``workdir``)."""

    name: ClassVar[str] = "local"

    @property
    def shared_directory(self) -> Path | None:
        """The ``workdir``."""
        return self.workdir
