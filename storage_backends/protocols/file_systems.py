"""Any file system that fsspec has a protocol for, seen as a store of objects."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from fsspec.core import url_to_fs
from fsspec.spec import AbstractFileSystem

from storage_backends.errors import StorageChangedError, StorageCorruptError, StorageTransientError
from storage_backends.objects.store import ObjectStore, Sink, StoredObject
from storage_backends.paths import is_temporary, temporary_beside
from storage_backends.pool import TransferPool
from storage_backends.protocols.errors import shown_url, translated
from storage_backends.watch import Watch

_BLOCK = 1 << 20
#: What tells one content from another, by the names that file systems give it in their `info`.
_VERSIONS = ("VersionId", "version_id", "generation", "ETag", "etag", "md5", "checksum")
_TIMES = ("mtime", "LastModified", "last_modified", "modified", "time", "updated", "created")


class FileSystemStore(ObjectStore):
    """A file system of fsspec below a root URL; see ObjectStore.

    Uses what all of them have: `ls`, `info`, `open`, `mv`, `makedirs` and `rm_file`. A file is
    written under a temporary name and moved. Compared are sizes, and the version after a read with
    the one before: an id or ETag where `info` has one, else size and time. A file that was changed
    just now has no version by its time: another may replace it within the same tick. No listing is
    cached.

    Of file systems without an event loop (most hold one connection each, and few say that they are
    safe) every thread has an instance of its own. How long a request may take is theirs to bound.
    """

    wants_directories = False
    #: Seconds that a file must be old for its time to tell it from one that replaced it: many
    #: systems give whole seconds.
    settled: float = 2.0

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        self.url = shown_url(url)
        self._address = url
        self._options = options
        self._systems = threading.local()

    @classmethod
    def open(cls, url: str, options: Mapping[str, Any], pool: TransferPool) -> FileSystemStore:  # noqa: ARG003 - as all stores of URLs
        """The store at `url`; its file system is made when first used, for it may connect."""
        return cls(url, options["fsspec"])

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """See ObjectStore."""
        with translated():
            for name, info in self._found(prefix):
                if info["type"] == "directory":
                    if name:
                        yield StoredObject(f"{name}/", 0)
                elif name != prefix.rstrip("/") and not is_temporary(name.rpartition("/")[2]):
                    yield self._described(name, info)

    def stat(self, name: str) -> StoredObject:
        """See ObjectStore."""
        with translated():
            info = self._fresh().info(self._path(name))
            if info["type"] == "directory":
                raise FileNotFoundError(name)
            return self._described(name, info)

    def read(self, found: StoredObject, start: int, end: int, into: Sink, watch: Watch) -> None:
        """See ObjectStore."""
        with translated():
            before = found.version or self._mark_of_same_size(found)
            copied = self._copy_out(found.name, start, end, into, watch)
            if before is not None and self._mark(found.name) != before:
                raise StorageChangedError("the file was changed meanwhile")
        if copied != end - start:
            raise StorageTransientError(f"{copied} bytes came of {end - start}")

    def write(self, name: str, source: BinaryIO, size: int, watch: Watch) -> StoredObject:
        """See ObjectStore."""
        with translated():
            written = self._copy_in(name, source, watch)
        stored = self.stat(name)
        if not size == written == stored.size:
            raise StorageCorruptError(f"{stored.size} bytes arrived of {size}")
        return stored

    def make_directory(self, name: str) -> None:
        """See ObjectStore."""
        with translated():
            self._system().makedirs(self._path(name), exist_ok=True)

    def delete(self, name: str) -> None:
        """See ObjectStore."""
        with (
            translated(),
            contextlib.suppress(FileNotFoundError),
        ):
            if name.endswith("/"):
                self._system().rmdir(self._path(name))
            else:
                self._system().rm_file(self._path(name))

    def _found(self, prefix: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Name and `info` of the directory `prefix` and all below it, directory by directory.

        Not by `find`, which passes over directories that it may not read.
        """
        waiting = [self._path(prefix)]
        with contextlib.suppress(FileNotFoundError):
            yield self._name(waiting[0]), self._fresh().info(waiting[0])
        while waiting:
            path = waiting.pop()
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                for info in self._fresh().ls(path, detail=True):
                    found = info["name"].rstrip("/")
                    if found == path:  # `ls` of a file is that file; some list a directory itself
                        continue
                    if info["type"] == "directory":
                        waiting.append(found)
                    yield self._name(found), info

    def _copy_out(self, name: str, start: int, end: int, into: Sink, watch: Watch) -> int:
        copied = 0
        with self._system().open(self._path(name), "rb") as reader:
            if start:
                reader.seek(start)
            while data := reader.read(min(_BLOCK, end - start - copied)):
                into.write(data)
                copied += len(data)
                watch.moved(len(data))
        return copied

    def _copy_in(self, name: str, source: BinaryIO, watch: Watch) -> int:
        system, path = self._system(), self._path(name)
        parent, slash, _ = path.rpartition("/")
        if parent:
            system.makedirs(parent, exist_ok=True)
        temporary = f"{parent}{slash}{temporary_beside(Path(path)).name}"
        try:
            written = 0
            with system.open(temporary, "wb") as writer:
                while data := source.read(_BLOCK):
                    writer.write(data)
                    written += len(data)
                    watch.moved(len(data))
            watch.check()
            _move(system, temporary, path)
        except BaseException:
            with contextlib.suppress(Exception):  # the error under way is the one to tell
                system.rm_file(temporary)
            raise
        return written

    def _described(self, name: str, info: Mapping[str, Any]) -> StoredObject:
        changed = _changed(info)
        is_told = any(info.get(key) for key in _VERSIONS)
        # A time of a form that is unknown here is never known to be old enough.
        if not is_told and (changed is None or time.time() - changed < self.settled):
            return StoredObject(name, int(info["size"]))
        return StoredObject(name, int(info["size"]), _mark(info))

    def _mark_of_same_size(self, found: StoredObject) -> str | None:
        """The mark of a file that was too young for a version, unless it is another one by now."""
        info = self._fresh().info(self._path(found.name))
        if int(info["size"]) != found.size:
            raise StorageChangedError("the file was changed meanwhile")
        return _mark(info)

    def _mark(self, name: str) -> str | None:
        return _mark(self._fresh().info(self._path(name)))

    def _system(self) -> AbstractFileSystem:
        """The file system for the calling thread."""
        return self._located()[0]

    def _fresh(self) -> AbstractFileSystem:
        """The same, with nothing remembered of what it has listed."""
        system = self._system()
        system.invalidate_cache()
        return system

    def _path(self, name: str) -> str:
        return f"{self._located()[1]}/{name}".rstrip("/")

    def _name(self, path: str) -> str:
        return path[len(self._located()[1]) :].lstrip("/")

    def _located(self) -> tuple[AbstractFileSystem, str]:
        try:
            located: tuple[AbstractFileSystem, str] = self._systems.located
        except AttributeError:
            # Not fsspec's own cached instance: its listings are shared, and its credentials stay.
            system, root = url_to_fs(self._address, skip_instance_cache=True, **self._options)
            self._systems.located = located = (system, root.rstrip("/"))
        return located


class MemoryStore(FileSystemStore):
    """fsspec's ``memory://``, which all of this process share; for tests and trying out.

    Files are put and read in one piece: its open files show what is half written, and share their
    position. The version is the time of writing, to the microsecond.
    """

    settled = 0.0

    def _found(self, prefix: str) -> Iterator[tuple[str, dict[str, Any]]]:
        # A snapshot; its `ls` fails when another thread deletes meanwhile.
        below = f"{self._path(prefix)}/"
        found = self._system().find(below, withdirs=True, detail=True)
        # Files first: what is wrong with a name is said of the file, not of a directory above it.
        for path, info in sorted(found.items(), key=lambda item: item[1]["type"] == "directory"):
            if f"{path}/".startswith(below):
                yield self._name(path), info

    def _copy_out(self, name: str, start: int, end: int, into: Sink, watch: Watch) -> int:
        data = self._system().cat_file(self._path(name), start, end)
        into.write(data)
        watch.moved(len(data))
        return len(data)

    def _copy_in(self, name: str, source: BinaryIO, watch: Watch) -> int:
        data = source.read()
        watch.moved(len(data))  # before it appears: a stop is heard up to then
        self._system().pipe_file(self._path(name), data)
        return len(data)


def _move(system: AbstractFileSystem, source: str, target: str) -> None:
    if type(system).mv is not AbstractFileSystem.mv:
        system.mv(source, target)
        return
    # fsspec's own `mv` takes names for patterns; object stores copy on their side, at once.
    system.cp_file(source, target)
    system.rm_file(source)


def _mark(info: Mapping[str, Any]) -> str | None:
    """What is another after most changes of the file: an id, else its time and size."""
    for key in _VERSIONS:
        if info.get(key):
            return str(info[key])
    for key in _TIMES:
        if info.get(key):
            return f"{_seconds(info[key])}-{int(info['size'])}"
    return None


def _changed(info: Mapping[str, Any]) -> float | None:
    """When the file was changed, in seconds since 1970; None where that cannot be read."""
    given = next((_seconds(info[key]) for key in _TIMES if info.get(key)), None)
    return given if isinstance(given, int | float) else None


def _seconds(given: Any) -> Any:
    """A time as `info` gives it: a datetime, or seconds; `ls` and `info` may differ in that."""
    return given.timestamp() if hasattr(given, "timestamp") else given
