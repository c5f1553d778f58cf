"""The directory of a kept container in which the files of its jobs lie, one job's at a time."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


class OtherFileSystemError(Exception):
    """Files cannot be renamed from there to here. All are where they were."""


class WarmFiles:
    """Lends files to a container and takes them back, by renaming what lies in a directory."""

    def __init__(self, directory: Path) -> None:
        """`directory` is made; it is to be mounted."""
        directory.mkdir(parents=True)
        self.directory = directory
        self._mode = stat.S_IMODE(directory.stat().st_mode)

    def lend(self, source: Path) -> None:
        """Move all that is in `source` here. Raises OtherFileSystemError, OSError."""
        try:
            _move(source, self.directory)
        except OSError as exc:
            _move(self.directory, source)
            if exc.errno == errno.EXDEV:
                raise OtherFileSystemError from exc
            raise

    def give_back(self, target: Path) -> bool:
        """Move all that is here to `target`, which is empty; whether this can be used again.

        A directory that somebody else made (root, in the container) can be renamed only by them:
        then the directory here itself takes the place of `target`. Raises OSError.
        """
        self.directory.chmod(self._mode)  # a job may have taken it from us
        try:
            _move(self.directory, target)
        except PermissionError:
            _move(target, self.directory)
            self.directory.rename(target)
            return False
        return True


def _move(source: Path, target: Path) -> None:
    for name in os.listdir(source):  # noqa: PTH208 - names are wanted, and it is half the time
        os.rename(source / name, target / name)  # noqa: PTH104 - as above
