"""What `GridFtpBackend` asks of a server: many files at a time, each tried again as needed."""

from __future__ import annotations

import hashlib
import os
import re
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from storage_backends.errors import (
    StorageCorruptError,
    StorageDeniedError,
    StorageError,
    StorageNotFoundError,
    StorageTransientError,
    naming,
)
from storage_backends.gridftp.globus import Control, Copy, Facts, Globus
from storage_backends.objects.store import StoredObject
from storage_backends.pool import TransferPool
from storage_backends.retrying import Retry
from storage_backends.watch import Watch

_TEMPORARY = re.compile(r"(?:^|/)\.[0-9a-f]{32}\.part$")
#: Control connections that share many requests, and the requests that each has at least.
_CONNECTIONS = 4
_REQUESTS = 50
_BLOCK = 1 << 20
#: No tree is followed further than this: no such name can be fetched, on any file system.
_LONGEST_NAME = 4096

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class _Directory:
    """A directory to be listed, with what tells those above it apart."""

    name: str
    above: frozenset[str]


@dataclass(frozen=True, slots=True)
class Source:
    """A file to be stored, opened for reading."""

    name: str
    descriptor: int

    @property
    def path(self) -> Path:
        """Where all processes of this user find the opened file, whatever has its name now."""
        return Path(f"/proc/{os.getpid()}/fd/{self.descriptor}")


class GridFtpFiles:
    """Files by name below a root URL. Safe for concurrent use; raises StorageError's kinds."""

    def __init__(self, root: str, globus: Globus, pool: TransferPool, retry: Retry) -> None:
        self._root = root.rstrip("/")
        self._globus = globus
        self._pool = pool
        self._retry = retry

    def url(self, name: str) -> str:
        """The URL of a checked name. Raises StorageDeniedError for one that Globus would spoil."""
        if not name.isascii():
            raise StorageDeniedError(
                f"GridFTP: {name!r} has letters beyond ASCII, which Globus drops from names:"
                " give the file another name"
            )
        return f"{self._root}/{quote(name, safe='/')}"

    def stat(self, name: str, watch: Watch) -> StoredObject:
        """The file `name`; its checksum is its version."""
        return self._retry.call(lambda part: self._each([name], self._described, part)[0], watch)

    def listing(self, prefix: str, watch: Watch, *, hidden: bool = False) -> list[StoredObject]:
        """All files and directories below `prefix`; with `hidden`, what is being uploaded too."""
        return self._retry.call(lambda part: self._listed(prefix, part, hidden), watch)

    def bring(
        self,
        names: Sequence[str],
        known: Mapping[str, StoredObject],
        stage: Path,
        watch: Watch,
    ) -> dict[str, StoredObject]:
        """Bring files into the directory `stage`, each named by its number, and compare them.

        What is `known` already is not asked for. The path of `stage` has to be ASCII.
        """
        done: dict[str, StoredObject] = {}

        def attempt(part: Watch) -> None:
            left = {name: stage / str(n) for n, name in enumerate(names) if name not in done}
            found = self._each([known.get(name, name) for name in left], self._summed, part)
            copies = [Copy(name, self.url(name), f"file://{path}") for name, path in left.items()]
            self._globus.copy(copies, part, upload=False)

            def compare(control: Control, pair: tuple[StoredObject, Path]) -> None:
                done[pair[0].name] = self._compared(control, *pair)
                watch.moved(done[pair[0].name].size)

            self._each(list(zip(found, left.values(), strict=True)), compare, part)

        self._retry.call(attempt, watch)
        return {name: done[name] for name in names}

    def push(self, sources: Sequence[Source], watch: Watch) -> list[StoredObject]:
        """Store opened files: compared while they have temporary names, then renamed."""
        counted: set[str] = set()

        def attempt(part: Watch) -> list[StoredObject]:
            uploads = [(source, _temporary_name(source.name)) for source in sources]
            try:
                return upload(uploads, part)
            except BaseException:
                self._clean_up([name for _, name in uploads])
                raise

        def upload(uploads: list[tuple[Source, str]], part: Watch) -> list[StoredObject]:
            copies = [Copy(s.name, f"file://{s.path}", self.url(name)) for s, name in uploads]
            self._globus.copy(copies, part, upload=True)
            stored = self._each(uploads, self._received, part)
            for source, found in zip(sources, stored, strict=True):
                if source.name not in counted:
                    counted.add(source.name)
                    watch.moved(found.size)
            self._each(uploads, self._rename, part)
            return stored

        return self._retry.call(attempt, watch)

    def make_directories(self, names: Iterable[str], watch: Watch) -> None:
        """Make directories and those above them, unless they are there."""
        names = [name.rstrip("/") for name in names]
        self._retry.call(lambda part: self._each(names, self._make, part), watch)

    def remove(self, names: Sequence[str], watch: Watch) -> None:
        """Delete files and directories (whose names end in ``/``), if they are there."""
        files = [name for name in names if not name.endswith("/")]
        directories = sorted((name for name in names if name.endswith("/")), reverse=True)

        def delete(control: Control, name: str) -> None:
            with naming("removing", name, self.url(name)):
                control.delete(self.url(name.rstrip("/")), directory=name.endswith("/"))

        def attempt(part: Watch) -> None:
            self._each(files, delete, part)
            if directories:
                with self._globus.control(part) as control:
                    for name in directories:
                        delete(control, name)

        self._retry.call(attempt, watch)

    def _each(self, items: Sequence[T], call: Callable[[Control, T], R], watch: Watch) -> list[R]:
        """The results of `call` for all `items`, over a few control connections."""
        size = max(_REQUESTS, -(-len(items) // _CONNECTIONS))
        shares = [items[start : start + size] for start in range(0, len(items), size)]
        part = watch.part()

        def work(share: Sequence[T]) -> list[R]:
            with self._globus.control(part) as control:
                return [call(control, item) for item in share]

        results = self._pool.run([partial(work, share) for share in shares], part.stop)
        return [result for share in results for result in share]

    def _described(self, control: Control, name: str) -> StoredObject:
        url = self.url(name)
        with naming("looking for", name, url):
            facts = control.stat(url)
            if facts.directory:
                raise StorageNotFoundError(f"it is a directory: write '{name}/' for a tree")
            total = control.checksum(url, facts.size)
        return StoredObject(name, facts.size, total, total)

    def _summed(self, control: Control, wanted: StoredObject | str) -> StoredObject:
        """The file with its checksum; what a listing said of it may be known."""
        if isinstance(wanted, str):
            return self._described(control, wanted)
        url = self.url(wanted.name)
        with naming("looking for", wanted.name, url):
            total = control.checksum(url, wanted.size)
        return StoredObject(wanted.name, wanted.size, total, total)

    def _compared(self, control: Control, found: StoredObject, path: Path) -> StoredObject:
        """What has arrived: as `found`, or as the store has it now."""
        came = _summed_up(path, found.name, hashed=found.checksum is not None)
        if came == found:
            return found
        now = self._described(control, found.name)
        if came == now:
            return now
        with naming("fetching", found.name, self.url(found.name)):
            if now == found:
                raise StorageCorruptError(f"{_shown(came)} came, but the store has {_shown(found)}")
            raise StorageTransientError("it was replaced meanwhile")

    def _received(self, control: Control, upload: tuple[Source, str]) -> StoredObject:
        source, temporary = upload
        url = self.url(temporary)
        with naming("storing", source.name, self.url(source.name)):
            size = source.path.stat().st_size
            total = control.checksum(url, size)
            got = StoredObject(source.name, control.stat(url).size, total, total)
            sent = _summed_up(source.path, source.name, hashed=total is not None)
            if got != sent:
                raise StorageCorruptError(f"the server received {_shown(got)}, not {_shown(sent)}")
        return got

    def _rename(self, control: Control, upload: tuple[Source, str]) -> None:
        source, temporary = upload
        with naming("storing", source.name, self.url(source.name)):
            control.move(self.url(temporary), self.url(source.name))

    def _make(self, control: Control, name: str) -> None:
        with naming("making", f"{name}/", self.url(name)):
            try:
                control.mkdir(self.url(name))
                return
            except StorageNotFoundError:
                if "/" not in name:
                    raise
        self._make(control, name.rpartition("/")[0])
        with naming("making", f"{name}/", self.url(name)):
            control.mkdir(self.url(name))

    def _clean_up(self, names: Sequence[str]) -> None:
        """Remove what is left under temporary names, as far as the server lets us."""
        cleaner = GridFtpFiles(self._root, self._globus, self._pool, Retry(deadline=0.0))
        with suppress(StorageError):
            # Not the transfer's own watch: that may be stopped.
            cleaner.remove(names, Watch())

    def _listed(self, prefix: str, watch: Watch, hidden: bool) -> list[StoredObject]:
        found: list[StoredObject] = []
        level: list[_Directory] = [_Directory(prefix, frozenset())]
        while level:
            pages = self._each(level, self._page, watch)
            below = []
            for directory, page in zip(level, pages, strict=True):
                for facts in page:
                    name = directory.name + facts.name + ("/" if facts.directory else "")
                    found.append(StoredObject(name, facts.size))
                    # A link to a directory above would be followed for ever.
                    loop = facts.unique and facts.unique in directory.above
                    if facts.directory and not loop and len(name) < _LONGEST_NAME:
                        below.append(_Directory(name, directory.above | {facts.unique}))
            level = below
        return [entry for entry in found if hidden or not _TEMPORARY.search(entry.name)]

    def _page(self, control: Control, directory: _Directory) -> list[Facts]:
        url = self._root + "/" + quote(directory.name, safe="/", errors="surrogateescape")
        if not directory.name.isascii():
            return []  # cannot be asked for; its own name says why it cannot be fetched
        with naming("listing", directory.name, url):
            try:
                return control.list(url)
            except StorageNotFoundError:
                if directory.name:
                    return []  # never was, or was removed meanwhile
                raise


def _summed_up(path: Path, name: str, *, hashed: bool) -> StoredObject:
    """The local file `path`, as a server that has it as `name` would describe it."""
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb", buffering=0) as opened:
        size = os.fstat(opened.fileno()).st_size
        while hashed and (block := opened.read(_BLOCK)):
            digest.update(block)
    total = f"md5:{digest.hexdigest()}" if hashed else None
    return StoredObject(name, size, total, total)


def _shown(found: StoredObject) -> str:
    return f"{found.size} bytes ({found.checksum})" if found.checksum else f"{found.size} bytes"


def _temporary_name(name: str) -> str:
    directory, slash, _ = name.rpartition("/")
    return f"{directory}{slash}.{uuid.uuid4().hex}.part"
