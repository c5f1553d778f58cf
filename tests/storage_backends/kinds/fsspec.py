"""Stores behind fsspec: S3 by moto's server, memory, a directory, and Python's web server."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import fsspec
from fsspec.implementations.local import LocalFileSystem

from storage_backends import StorageBackend, open_backend
from tests.services import s3, web
from tests.storage_backends.conformance import behaviours, cases
from tests.storage_backends.kinds import directories
from tests.storage_backends.kinds.kind import StoreKind


@contextmanager
def _s3(directory: Path) -> Iterator[StorageBackend]:
    endpoint = s3.shared_endpoint()
    bucket = s3.make_bucket(endpoint)
    _place(directory).write_text(bucket)
    options = {"url": f"s3://{bucket}", "endpoint_url": endpoint, "nobody": "knows this option"}
    with open_backend("fsspec", {**options, **s3.CREDENTIALS}) as backend:
        yield backend


def _plant_s3(_: StorageBackend, directory: Path, objects: Mapping[str, bytes]) -> None:
    client = s3.client(s3.shared_endpoint())
    for name, data in objects.items():
        client.put_object(Bucket=_place(directory).read_text(), Key=name, Body=data)


@contextmanager
def _memory(directory: Path) -> Iterator[StorageBackend]:
    url = f"memory://{uuid.uuid4().hex}/root"
    _place(directory).write_text(url)
    with open_backend("fsspec", {"url": url}) as backend:
        yield backend
    files = fsspec.filesystem("memory")
    if files.exists(url):
        files.rm(url, recursive=True)


def _plant_memory(_: StorageBackend, directory: Path, objects: Mapping[str, bytes]) -> None:
    files = fsspec.filesystem("memory")
    for name, data in objects.items():
        files.pipe_file(f"{_place(directory).read_text()}/{name}", data)


def _place(directory: Path) -> Path:
    """Where it is written which store was opened for `directory`."""
    return directory / "place"


@contextmanager
def _file(directory: Path) -> Iterator[StorageBackend]:
    with open_backend("fsspec", {"url": f"file://{directory}"}) as backend:
        yield backend


class _PlainFiles(LocalFileSystem):
    """A directory as a file system that Portfire knows nothing of: one of many protocols."""

    protocol = "plain"

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.removeprefix("plain://")))


@contextmanager
def _plain(directory: Path) -> Iterator[StorageBackend]:
    fsspec.register_implementation("plain", _PlainFiles, clobber=True)
    with open_backend("fsspec", {"url": f"plain://{directory}"}) as backend:
        yield backend


@contextmanager
def _http(directory: Path) -> Iterator[StorageBackend]:
    root = directory / "served here"
    root.mkdir()
    with (
        web.serving(directory) as url,
        open_backend("fsspec", {"url": f"{url}/served%20here"}) as backend,
    ):
        yield backend


def _plant_http(_: StorageBackend, directory: Path, objects: Mapping[str, bytes]) -> None:
    directories.plant(_, directory / "served here", objects)


_MOST_LACK = frozenset({behaviours.CHECKSUMS, behaviours.PERMISSIONS, behaviours.RANGES})
KINDS = [
    StoreKind(
        name="s3",
        opened=_s3,
        lacks=frozenset({behaviours.PERMISSIONS}),
        documented="s3://",
        plant=_plant_s3,
    ),
    StoreKind(
        name="https",
        opened=_http,
        lacks=_MOST_LACK | {behaviours.WRITES, behaviours.REMOVES},
        documented="https://",
        plant=_plant_http,
        cannot_hold=directories.IMPOSSIBLE,
    ),
    StoreKind(
        name="file",
        opened=_file,
        lacks=directories.LACKS,
        documented="file://",
        plant=directories.plant,
        cannot_hold=directories.IMPOSSIBLE,
    ),
    StoreKind(
        name="any other protocol",
        opened=_plain,
        lacks=_MOST_LACK,
        documented="any other `protocol://` of fsspec",
        plant=directories.plant,
        cannot_hold=directories.IMPOSSIBLE,
    ),
    StoreKind(
        name="memory",
        opened=_memory,
        lacks=_MOST_LACK,
        documented="memory://",
        plant=_plant_memory,
        cannot_hold=frozenset({cases.FILE_AND_TREE}),
    ),
]
