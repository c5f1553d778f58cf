"""The input cache: fetched files on disk, by what they are, until others need the room.

Everything known of a file is in its name, so one rename makes it part of the cache, and a process
that starts again finds all of it: ``DIGEST.SIZE.MTIME.MODE.CHECKSUM``, where DIGEST is that of the
key. Its access time is when it was last used. A name of any other form is a leftover.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import re
import shutil
import stat
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from storage_backends.cache.single_flight import Flights

log = logging.getLogger(__name__)

#: Executors that may work side by side in one directory.
_MOST_SHARES = 1000
_LOCK = "lock"
_NAME = re.compile(
    r"(?P<digest>[0-9a-f]{64})\.(?P<size>[0-9]+)\.(?P<mtime_ns>[0-9]+)\.(?P<mode>[0-7]+)"
    r"\.(?P<checksum>[a-z0-9]+:[0-9a-f]+)?"
)


@dataclass(frozen=True, slots=True)
class CachedFile:
    """One file of the cache. Nobody may write to `path`."""

    path: Path
    size: int
    mtime_ns: int
    #: Permission bits that a fresh download had.
    mode: int
    #: See `Transfer.checksum`.
    checksum: str | None

    def is_intact(self) -> bool:
        """Whether the file is there as it was put there."""
        try:
            facts = self.path.lstat()
        except OSError:
            return False
        found = (stat.S_ISREG(facts.st_mode), facts.st_size, facts.st_mtime_ns)
        return found == (True, self.size, self.mtime_ns)


@dataclass(eq=False)
class _Kept:
    file: CachedFile
    #: Placements under way: it is not evicted meanwhile.
    users: int = 0


@dataclass(eq=False)
class Room:
    """Where a file may be put, and how many bytes are set aside for it."""

    path: Path
    size: int


class InputCache:
    """Files by key, at most `limit` bytes of them; the least recently used go first. Thread-safe.

    Each process has a share of `directory` to itself, a numbered one that no other process uses
    now, and finds again what the process before it left there.
    """

    def __init__(self, directory: Path, limit: int) -> None:
        """Raises OSError when `directory` cannot be used."""
        self.limit = limit
        #: Downloads under way, by digest.
        self.flights = Flights()
        self.directory, self._claim = _claimed_share(directory)
        self._lock = threading.Lock()  # guards all below
        self._kept: OrderedDict[str, _Kept] = OrderedDict()  # by digest, longest unused first
        self._used = 0  # bytes of the files, and of those that are being fetched
        self._read_directory()

    @property
    def used(self) -> int:
        """Bytes of the files, and of those that are being fetched."""
        return self._used

    @contextmanager
    def use(self, digest: str) -> Iterator[CachedFile | None]:
        """The file of that key, which stays inside the ``with`` block; None: there is none."""
        kept = self._take(digest)
        try:
            yield kept.file if kept else None
        finally:
            if kept is not None:
                with self._lock:
                    kept.users -= 1

    @contextmanager
    def room(self, size: int) -> Iterator[Room | None]:
        """Room for a file of `size`, which may then be kept; None: there is none.

        What still is there after the ``with`` block is removed.
        """
        room = Room(self.directory / f"{uuid.uuid4().hex}.part", size)
        with self._lock:
            found = self._has_room(size)
            self._used += size if found else 0
        if not found:
            yield None
            return
        try:
            yield room
        finally:
            with self._lock:
                self._used -= room.size
            room.path.unlink(missing_ok=True)

    def keep(self, digest: str, room: Room, checksum: str | None) -> None:
        """Make what was put into `room` the file of that key. Raises OSError."""
        facts = room.path.stat()
        mode = stat.S_IMODE(facts.st_mode) & 0o777
        # Even through a hard link nobody writes to it by mistake.
        room.path.chmod(mode & 0o555)
        name = f"{digest}.{facts.st_size}.{facts.st_mtime_ns}.{mode:o}.{checksum or ''}"
        path = self.directory / name
        file = CachedFile(path, facts.st_size, facts.st_mtime_ns, mode, checksum)
        with self._lock:
            kept = self._kept.get(digest)
            if kept is not None and kept.file.is_intact():
                # Two asked for two versions and both came by this one; others may be reading it.
                return
            self._drop(digest)
            room.path.rename(path)
            self._kept[digest] = _Kept(file)
            self._used += file.size - room.size
            room.size = 0
            # It may have grown since its size was asked for.
            self._evict(self.limit)

    def close(self) -> None:
        """Leave the share to another process. Idempotent."""
        claim, self._claim = self._claim, -1
        if claim >= 0:
            os.close(claim)

    def _take(self, digest: str) -> _Kept | None:
        with self._lock:
            kept = self._kept.get(digest)
            if kept is None:
                return None
            if not kept.file.is_intact():
                log.warning("a cached file was altered, and is dropped: %s", kept.file.path.name)
                self._drop(digest)
                return None
            kept.users += 1
            self._kept.move_to_end(digest)
            with contextlib.suppress(OSError):
                os.utime(kept.file.path, ns=(time.time_ns(), kept.file.mtime_ns))
            return kept

    def _has_room(self, size: int) -> bool:
        """Whether `size` bytes more would fit; others go for them only if that helps."""
        evictable = sum(kept.file.size for kept in self._kept.values() if not kept.users)
        fits = self._used - evictable + size <= self.limit and _has_space(self.directory, size)
        if fits:
            self._evict(self.limit - size)
        return fits

    def _evict(self, limit: int) -> None:
        for digest in [digest for digest, kept in self._kept.items() if not kept.users]:
            if self._used <= limit:
                break
            self._drop(digest)

    def _drop(self, digest: str) -> None:
        kept = self._kept.pop(digest, None)
        if kept is not None:
            self._used -= kept.file.size
            kept.file.path.unlink(missing_ok=True)

    def _read_directory(self) -> None:
        found: list[tuple[int, str, CachedFile]] = []
        for path in self.directory.iterdir():
            match = _NAME.fullmatch(path.name)
            file = _described(path, match) if match else None
            if match and file is not None and file.is_intact():
                found.append((path.stat().st_atime_ns, match["digest"], file))
            elif path.name != _LOCK:
                path.unlink()
        with self._lock:
            for _, digest, file in sorted(found, key=lambda one: one[0]):
                self._drop(digest)
                self._kept[digest] = _Kept(file)
                self._used += file.size
            self._evict(self.limit)


def cache_digest(url: str, name: str, version: str) -> str:
    """The key of one version of one object, as hexadecimal digits."""
    return hashlib.sha256(json.dumps([url, name, version]).encode()).hexdigest()


def _described(path: Path, match: re.Match[str]) -> CachedFile:
    size, mtime_ns, mode = int(match["size"]), int(match["mtime_ns"]), int(match["mode"], 8)
    return CachedFile(path, size, mtime_ns, mode, match["checksum"])


def _has_space(directory: Path, size: int) -> bool:
    try:
        return shutil.disk_usage(directory).free > size
    except OSError:
        return False


def _claimed_share(directory: Path) -> tuple[Path, int]:
    """The first share that no process uses, and the descriptor that claims it."""
    for number in range(1, _MOST_SHARES + 1):
        share = directory / str(number)
        share.mkdir(parents=True, exist_ok=True, mode=0o700)
        claim = os.open(share / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(claim)
        except OSError:
            os.close(claim)
            raise
        else:
            return share, claim
    raise OSError(f"{directory} has {_MOST_SHARES} shares, and each is in use")
