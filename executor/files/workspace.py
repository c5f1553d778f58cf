"""The directories of one job: private where files are staged, removed in every ending."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from executor.containers.ownership import empty_as_root
from messaging.errors import UsageError

logger = logging.getLogger(__name__)

#: What a private directory is called.
PRIVATE_PREFIX = ".portfire-"
#: The file in a private directory that has the id of the image whose containers wrote there.
_IMAGE = ".image-id"
_IMAGE_ID = re.compile(r"(sha256:)?[0-9a-f]{64}")


@dataclass
class Workspace:
    """Where an execution finds its files."""

    #: Inputs lie here, outputs are looked for here.
    files: Path
    #: For what belongs to us, not to the job: what the program printed.
    ours: Path
    #: Whether `files` is private to this job, and its files are copies.
    private: bool

    @property
    def image(self) -> str | None:
        """Id of the image of the containers that write to `files`; they may do so as root.

        Kept beside them, so that whoever removes them, also after this process, knows it.
        """
        return _image(self.ours.parent)

    @image.setter
    def image(self, image: str) -> None:
        (self.ours.parent / _IMAGE).write_text(image)

    @property
    def stdout(self) -> Path:
        """Where standard output goes unless the job names a file."""
        return self.ours / "stdout"

    @property
    def stderr(self) -> Path:
        """Where standard error goes unless the job names a file."""
        return self.ours / "stderr"


@contextmanager
def open_workspace(directory: Path, shared: Path | None) -> Iterator[Workspace]:
    """A workspace inside `directory`; with `shared`, the job's files are there instead."""
    # Resolved, because Docker and `is_relative_to` want to see through symlinks above us.
    top = Path(tempfile.mkdtemp(prefix=PRIVATE_PREFIX, dir=directory)).resolve()
    try:
        files, ours = shared or top / "files", top / "ours"
        ours.mkdir()
        if shared is None:
            files.mkdir()
        yield Workspace(files, ours, private=shared is None)
    finally:
        remove_tree(top)


def usable_workdir(path: Path) -> Path:
    """`path`, absolute and made if need be. Raises UsageError if this user may not write there."""
    workdir = path.absolute()
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=workdir):
            pass
    except OSError as exc:
        raise UsageError(
            f"workdir {workdir} cannot be used: {exc.strerror}; set PORTFIRE_WORKDIR to a "
            "directory that this user may write to"
        ) from exc
    return workdir


def remove_private(directory: Path) -> None:
    """Remove the private directories that a job left in its own. Never raises."""
    for private in directory.glob(f"{PRIVATE_PREFIX}*"):
        remove_tree(private)


def remove_tree(top: Path) -> None:
    """Remove a directory, also one in which a program took away permissions. Never raises.

    From a private one that says which image's containers wrote there, also what they wrote as root.
    """
    image = _image(top)
    shutil.rmtree(top, ignore_errors=True)
    if not top.exists():
        return
    for directory, _, _ in os.walk(top):
        with contextlib.suppress(OSError):
            Path(directory).chmod(0o700)
    shutil.rmtree(top, ignore_errors=True)
    if not top.exists():
        return
    said = empty_as_root(top, image) if image else "no image is known"
    shutil.rmtree(top, ignore_errors=True)
    if top.exists():
        logger.warning("could not remove the job's directory %s: remove it by hand (%s)", top, said)


def _image(top: Path) -> str | None:
    try:
        with (top / _IMAGE).open(errors="replace") as file:
            found = _IMAGE_ID.fullmatch(file.read(100))
    except OSError:
        return None
    return found[0] if found else None
