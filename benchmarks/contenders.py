"""The ways to move files that are measured side by side.

Each is a class that is made ready once (untimed) and then called with one of four movements. All
clients of Google Cloud Storage talk to the same server, with the same kind of credentials.
"""

from __future__ import annotations

import contextlib
import functools
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import requests
from google.api_core.exceptions import PreconditionFailed
from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Client, transfer_manager

from storage_backends.cache.backend import CachedBackend
from storage_backends.cache.files import InputCache
from storage_backends.contract import StorageBackend
from storage_backends.pool import TransferPool
from storage_backends.registry import open_backend

BUCKET = "bench"
#: What Borealis asks for of each object in a listing.
_LISTED = "items(bucket,name,id,generation,size),nextPageToken"


class Contender(Protocol):
    """Moves between a store and a directory; `name` of a tree ends in ``/``."""

    def fetch(self, name: str, target: Path) -> None:
        """Bring a file or tree."""

    def store(self, source: Path, name: str) -> None:
        """Put a file or tree."""


class Borealis:
    """Its way: the client library, one file after another, a placeholder for each directory."""

    def __init__(self, endpoint: str) -> None:
        self._client = _client(endpoint)
        self._bucket = self._client.bucket(BUCKET)
        self._placeholders: set[str] = set()

    def fetch(self, name: str, target: Path) -> None:
        """List, then one file after another."""
        for blob in self._client.list_blobs(self._bucket, prefix=name, fields=_LISTED):
            path = target / blob.name.removeprefix(name)
            if blob.name.endswith("/"):
                path.mkdir(parents=True, exist_ok=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            blob.download_to_filename(str(path))

    def store(self, source: Path, name: str) -> None:
        """One file after another, each after the placeholders above it."""
        for path, stored in _files_of(source, name):
            self._make_placeholders(stored)
            self._bucket.blob(stored).upload_from_filename(str(path))

    def _make_placeholders(self, name: str) -> None:
        for end in (place for place, letter in enumerate(name) if letter == "/"):
            directory = name[: end + 1]
            if directory not in self._placeholders:
                self._placeholders.add(directory)
                with contextlib.suppress(PreconditionFailed):
                    self._bucket.blob(directory).upload_from_string(b"", if_generation_match=0)


class TransferManager:
    """google-cloud-storage's transfer_manager with threads, and its connections pooled for them."""

    def __init__(self, endpoint: str, *, workers: int) -> None:
        self._client = _client(endpoint, pool=workers)
        self._bucket = self._client.bucket(BUCKET)
        self._options = {
            "worker_type": transfer_manager.THREAD,
            "max_workers": workers,
            "raise_exception": True,
        }

    def fetch(self, name: str, target: Path) -> None:
        """List, then all files on the threads."""
        pairs = []
        for blob in self._client.list_blobs(self._bucket, prefix=name, fields=_LISTED):
            path = target / blob.name.removeprefix(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            pairs.append((blob, str(path)))
        transfer_manager.download_many(pairs, **self._options)

    def store(self, source: Path, name: str) -> None:
        """All files on the threads; it makes no placeholders."""
        pairs = [(str(path), self._bucket.blob(stored)) for path, stored in _files_of(source, name)]
        transfer_manager.upload_many(pairs, **self._options)


class Requests:
    """One plain request for one file, streamed from and to disk; no checksums."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._session = requests.Session()

    def fetch(self, name: str, target: Path) -> None:
        """A GET."""
        url = f"{self._endpoint}/download/storage/v1/b/{BUCKET}/o/{quote(name, safe='')}?alt=media"
        with self._session.get(url, stream=True) as response, target.open("wb") as file:
            response.raise_for_status()
            for block in response.iter_content(1 << 20):
                file.write(block)

    def store(self, source: Path, name: str) -> None:
        """A POST."""
        url = f"{self._endpoint}/upload/storage/v1/b/{BUCKET}/o"
        query = {"uploadType": "media", "name": name}
        with source.open("rb") as file:
            self._session.post(url, params=query, data=file).raise_for_status()


class Portfire:
    """A storage backend of ours."""

    def __init__(self, backend: StorageBackend) -> None:
        self._backend = backend

    def fetch(self, name: str, target: Path) -> None:
        """As stage-in does."""
        self._backend.fetch(name, target)

    def store(self, source: Path, name: str) -> None:
        """As stage-out does."""
        self._backend.store(source, name, within=source.resolve().parent)


class Cached(Portfire):
    """Ours behind the input cache, which holds `name` already; see `CachedBackend`."""

    def __init__(self, backend: StorageBackend, cache: Path, name: str, *, read_only: bool) -> None:
        self._input_cache = InputCache(cache, 1 << 40)
        super().__init__(
            CachedBackend(backend, self._input_cache, f"gs://{BUCKET}", TransferPool())
        )
        self._read_only = read_only
        first = cache.with_name("first")
        self.fetch(name, first)
        first.unlink()

    def fetch(self, name: str, target: Path) -> None:
        """As stage-in does, for an input that the job may or may not alter."""
        self._backend.fetch(name, target, read_only=self._read_only)


class Copy:
    """coreutils' ``cp``, as from and to a mounted file system."""

    def __init__(self, workdir: str) -> None:
        self._workdir = Path(workdir)

    def fetch(self, name: str, target: Path) -> None:
        """Copy out of the directory."""
        subprocess.run(["cp", "-r", str(self._workdir / name), str(target)], check=True)

    def store(self, source: Path, name: str) -> None:
        """Copy into the directory."""
        subprocess.run(["cp", "-r", str(source), str(self._workdir / name)], check=True)


def _gcs(endpoint: str) -> StorageBackend:
    return open_backend("gcs", {"bucket": BUCKET, "endpoint": endpoint})


#: How each is made: from the server's URL, or for the last two from a directory.
CONTENDERS: Mapping[str, Callable[..., Contender]] = {
    "Borealis' way": Borealis,
    "transfer_manager, 8 threads": functools.partial(TransferManager, workers=8),
    "transfer_manager, 32 threads": functools.partial(TransferManager, workers=32),
    "requests": Requests,
    "Portfire gcs": lambda endpoint: Portfire(_gcs(endpoint)),
    "Portfire gcs, cached, copied": lambda endpoint, cache, name: Cached(
        _gcs(endpoint), Path(cache), name, read_only=False
    ),
    "Portfire gcs, cached, linked": lambda endpoint, cache, name: Cached(
        _gcs(endpoint), Path(cache), name, read_only=True
    ),
    "cp": Copy,
    "Portfire nfs": lambda workdir: Portfire(open_backend("nfs", {"workdir": workdir})),
}


def _client(endpoint: str, pool: int = 10) -> Any:
    client = Client(
        project=BUCKET,
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": endpoint},
    )
    adapter = requests.adapters.HTTPAdapter(pool_maxsize=pool, pool_block=True)
    client._http.mount("http://", adapter)
    return client


def _files_of(tree: Path, name: str) -> list[tuple[Path, str]]:
    """The files below `tree` and the names they get below `name`."""
    files = sorted(path for path in tree.rglob("*") if path.is_file())
    return [(path, name + path.relative_to(tree).as_posix()) for path in files]
