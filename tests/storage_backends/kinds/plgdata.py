"""PL-Grid Data, on a server of the tests' own."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from storage_backends import StorageBackend, open_backend
from tests.services import plgdata
from tests.storage_backends.conformance import behaviours
from tests.storage_backends.kinds.kind import StoreKind

_LACKS = frozenset(
    {
        behaviours.TREES,
        behaviours.EMPTY_DIRECTORIES,
        behaviours.REMOVES,
        behaviours.FILE_AND_TREE,
        behaviours.CHECKSUMS,
        behaviours.VERSIONS,
        behaviours.PERMISSIONS,
        behaviours.RANGES,
    }
)


@contextmanager
def _plgdata(directory: Path) -> Iterator[StorageBackend]:
    proxy = directory / "proxy"
    proxy.write_text(plgdata.PROXY)
    files = directory / "files"
    files.mkdir()
    with (
        plgdata.serving(files) as service,
        mock.patch.dict(os.environ, {"X509_USER_PROXY": str(proxy)}),
        open_backend("plgdata", {"endpoint": service.url, "nobody": "knows this"}) as backend,
    ):
        yield backend


def _plant(_: StorageBackend, directory: Path, objects: Mapping[str, bytes]) -> None:
    for name, data in objects.items():
        path = directory / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


KINDS = [
    StoreKind(name="plgdata", opened=_plgdata, lacks=_LACKS, documented="plgdata", plant=_plant)
]
