"""``nfs``: copy from and to a mounted file system on which jobs had better not work directly."""

from __future__ import annotations

from typing import ClassVar

from storage_backends.directories.backend import DirectoryBackend


class NfsBackend(DirectoryBackend):
    """A directory of a mounted file system (option ``workdir``): NFS, SSHFS, SMB or any other.

    Only plain reads, writes and renames within one directory are asked of it.
    """

    name: ClassVar[str] = "nfs"
