"""Files on a GridFTP server, moved by `globus-url-copy`.

Many files are one run of the program, over a few connections. What it cannot do (rename, delete,
ask for checksums) is done by the library that it is made of, see `globus_child`. So a file is
uploaded under a temporary name, compared, and renamed; a download is compared, and renamed here.
A host that dies leaves a ``.HEX.part`` in the store at most, which no listing shows.

The proxy certificate is that of X509_USER_PROXY, for ``gsiftp://``; ``ftp://`` is a server that
takes anybody. Names have to be ASCII: Globus drops all other letters from a URL without a word.
Where symbolic links in the store may lead is the server's affair.
"""

from __future__ import annotations

import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from messaging.errors import UsageError
from storage_backends.contract import Entry, StorageBackend, Transfer, Upload
from storage_backends.directories.boundary import open_inside
from storage_backends.errors import StorageNotFoundError, naming
from storage_backends.gridftp.files import GridFtpFiles, Source
from storage_backends.gridftp.globus import Globus
from storage_backends.objects.listing import Tree, tree_of
from storage_backends.objects.moved import file_moved, tree_moved
from storage_backends.objects.store import StoredObject
from storage_backends.objects.uploads import inspect
from storage_backends.paths import checked_name, is_tree
from storage_backends.pool import TransferPool
from storage_backends.proxy_certificate import proxy_file
from storage_backends.retrying import Retry
from storage_backends.watch import Watch

_URL = re.compile(r"(gsiftp|ftp)://[A-Za-z0-9.:_\[\]-]+(/[A-Za-z0-9._~%!$&'()*+,;=:@/-]*)?")
#: Files in one run of the program: each keeps a descriptor open while it is uploaded.
_BATCH = 200


class GridFtpBackend(StorageBackend):
    """Files below the option ``url``: ``gsiftp://HOST[:PORT][/DIRECTORY]``, or ``ftp://``.

    The version of a file is its checksum (MD5), which the server computes when asked for one file;
    the files of a listing have none. From a server without checksums, sizes are compared.

    ``streams`` connections move each file (1 by default: with more, it is the server that connects
    to here when files are fetched, which few firewalls let through).
    """

    def __init__(self, url: str, globus: Globus, pool: TransferPool, retry: Retry) -> None:
        self._url = url.rstrip("/")
        self._pool = pool
        self._files = GridFtpFiles(url, globus, pool, retry)

    @classmethod
    def open(cls, options: dict[str, Any], pool: TransferPool) -> StorageBackend:
        """See the contract. Raises UsageError for no program, and for no proxy certificate."""
        url = options.get("url")
        if not isinstance(url, str) or not (match := _URL.fullmatch(url)):
            raise UsageError(f"storage option 'url' {url!r}: expected gsiftp://HOST:PORT")
        streams = options.get("streams", 1)
        if isinstance(streams, bool) or not isinstance(streams, int) or not 1 <= streams <= 64:
            raise UsageError(
                f"storage option 'streams' {streams!r}: expected a number from 1 to 64"
            )
        environ = dict(os.environ)
        if match[1] == "gsiftp":
            environ["X509_USER_PROXY"] = str(proxy_file(environ))
        return cls(url, Globus(environ, streams=streams), pool, Retry.of(options))

    def fetch(
        self, name: str, target: Path, *, watch: Watch | None = None, read_only: bool = False
    ) -> Transfer:
        """See the contract."""
        return self.fetch_all({name: target}, watch=watch, read_only=read_only)[name]

    def fetch_all(
        self,
        wanted: Mapping[str, Path],
        *,
        watch: Watch | None = None,
        read_only: bool = False,  # noqa: ARG002 - nothing here is shared
    ) -> dict[str, Transfer]:
        """See the contract: the files of one directory in one run of the program."""
        part = (watch or Watch()).part()
        files: dict[Path, dict[str, Path]] = {}
        calls: list[Callable[[], dict[str, Transfer]]] = []
        for name, target in wanted.items():
            self._check("fetching", name)
            if is_tree(name):
                calls.append(partial(self._fetch_tree, name, target, part))
            else:
                files.setdefault(target.parent, {})[name] = target
        calls += [partial(self._fetch_files, group, part) for group in files.values()]
        moved = _merged(self._pool.run(calls, part.stop))
        return {name: moved[name] for name in wanted}

    def store(
        self, source: Path, name: str, *, within: Path, watch: Watch | None = None
    ) -> Transfer:
        """See the contract."""
        return self.store_all([Upload(source, name, within)], watch=watch)[name]

    def store_all(
        self, uploads: Sequence[Upload], *, watch: Watch | None = None
    ) -> dict[str, Transfer]:
        """See the contract: the files in one run of the program, the trees side by side."""
        part = (watch or Watch()).part()
        for upload in uploads:
            self._check("storing", upload.name)
        files = [upload for upload in uploads if not is_tree(upload.name)]
        calls: list[Callable[[], dict[str, Transfer]]] = [
            partial(self._store_tree, upload, part) for upload in uploads if is_tree(upload.name)
        ]
        calls.append(partial(self._store_files, files, part))
        moved = _merged(self._pool.run(calls, part.stop))
        return {upload.name: moved[upload.name] for upload in uploads}

    def entries(self, name: str) -> list[Entry]:
        """See the contract. Lists also what could not be fetched for its name."""
        if name:
            self._check("listing", name)
        if name and not is_tree(name):
            found = self._files.stat(name, Watch())
            return [Entry(name, found.size, found.version)]
        listed = self._files.listing(name, Watch())
        if name and not listed:
            with self._naming("listing", name):
                raise StorageNotFoundError("there is no such tree, or it holds nothing")
        return sorted((Entry(f.name, f.size) for f in listed), key=lambda entry: entry.name)

    def remove(self, name: str) -> None:
        """See the contract."""
        watch = Watch()
        self._check("removing", name)
        below = self._files.listing(name, watch, hidden=True) if is_tree(name) else []
        self._files.remove([*(found.name for found in below), name], watch)

    def _fetch_files(self, wanted: Mapping[str, Path], watch: Watch) -> dict[str, Transfer]:
        """Fetch files to targets in one directory."""
        started = time.monotonic()
        first, target = next(iter(wanted.items()))
        with ExitStack() as left:
            with self._naming("fetching", first):
                stage, here = left.enter_context(_stage(target.parent))
            moved = self._files.bring(list(wanted), {}, stage, watch)
            watch.check()
            for number, (name, target) in enumerate(wanted.items()):
                with self._naming("fetching", name):
                    (here / str(number)).replace(target)
        return {name: file_moved(moved[name], started) for name in wanted}

    def _fetch_tree(self, name: str, target: Path, watch: Watch) -> dict[str, Transfer]:
        started = time.monotonic()
        listed = self._files.listing(name, watch)
        with self._naming("fetching", name):
            tree = tree_of(name, listed)
        known = {found.name: found for found in tree.files.values()}
        for below in (*tree.directories, *tree.files):
            self._check("fetching", name + below)
        with ExitStack() as left:
            with self._naming("fetching", name):
                beside = target if target.is_dir() else target.parent
                stage, here = left.enter_context(_stage(beside))
            moved = self._files.bring(list(known), known, stage, watch)
            watch.check()
            with self._naming("fetching", name):
                _land(tree, here, target)
        return {name: tree_moved(name, list(moved.values()), started)}

    def _store_files(self, uploads: Sequence[Upload], watch: Watch) -> dict[str, Transfer]:
        started = time.monotonic()
        for upload in uploads:
            with self._naming("storing", upload.name):
                os.close(open_inside(upload.source, upload.within.resolve()))
        wanted = [(upload.name, upload.source, upload.within.resolve()) for upload in uploads]
        return {found.name: file_moved(found, started) for found in self._push(wanted, watch)}

    def _store_tree(self, upload: Upload, watch: Watch) -> dict[str, Transfer]:
        started = time.monotonic()
        name, boundary = upload.name, upload.within.resolve()
        with self._naming("storing", name):
            found = inspect(upload.source, boundary)
            watch.check()
        wanted = [(name + part, path, boundary) for part, path in found.files.items()]
        for file, _, _ in wanted:
            self._check("storing", file)
        self._files.make_directories((name + part for part in sorted(found.empty)), watch)
        return {name: tree_moved(name, self._push(wanted, watch), started)}

    def _push(self, wanted: Sequence[tuple[str, Path, Path]], watch: Watch) -> list[StoredObject]:
        """Store files, by name, path and the boundary within which that has to lie."""
        stored: list[StoredObject] = []
        for start in range(0, len(wanted), _BATCH):
            with ExitStack() as opened:
                sources = []
                for name, path, boundary in wanted[start : start + _BATCH]:
                    with self._naming("storing", name):
                        descriptor = open_inside(path, boundary)
                    opened.callback(os.close, descriptor)
                    sources.append(Source(name, descriptor))
                stored += self._files.push(sources, watch)
        return stored

    def _check(self, doing: str, name: str) -> None:
        with self._naming(doing, name):
            self._files.url(checked_name(name, "name"))

    def _naming(self, doing: str, name: str) -> Any:
        return naming(doing, name, f"{self._url}/{name}")


@contextmanager
def _stage(directory: Path) -> Iterator[tuple[Path, Path]]:
    """A new directory in `directory`, by an ASCII path and by its own; gone in the end."""
    directory.mkdir(parents=True, exist_ok=True)
    here = directory / f".{uuid.uuid4().hex}.part"
    here.mkdir()
    try:
        descriptor = os.open(here, os.O_RDONLY | os.O_DIRECTORY)
        try:
            yield Path(f"/proc/{os.getpid()}/fd/{descriptor}"), here
        finally:
            os.close(descriptor)
    finally:
        shutil.rmtree(here)


def _land(tree: Tree, stage: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for directory in tree.directories:
        (target / directory).mkdir(exist_ok=True)
    for number, name in enumerate(tree.files):
        (stage / str(number)).replace(target / name)


def _merged(results: Sequence[Mapping[str, Transfer]]) -> dict[str, Transfer]:
    return {name: moved for result in results for name, moved in result.items()}
