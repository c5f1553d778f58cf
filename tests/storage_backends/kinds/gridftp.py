"""A GridFTP server on loopback."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from storage_backends import StorageBackend, open_backend
from tests.services import gridftp
from tests.storage_backends.conformance import behaviours, cases
from tests.storage_backends.kinds.kind import StoreKind

_LACKS = frozenset(
    {
        behaviours.ODD_NAMES,  # ASCII only
        behaviours.LONG_NAMES,  # one of them is not ASCII
        behaviours.PERMISSIONS,
        behaviours.RANGES,
    }
)
_IMPOSSIBLE = frozenset(
    {cases.PARENT, cases.ABSOLUTE, cases.EMPTY_PART, cases.DOT, cases.LONG, cases.FILE_AND_TREE}
)


@contextmanager
def _gridftp(directory: Path) -> Iterator[StorageBackend]:
    url, files = gridftp.shared_server()
    place = gridftp.make_place(files)
    _place(directory).symlink_to(place)
    with open_backend(
        "gridftp", {"url": f"{url}{place}", "nobody": "knows this option"}
    ) as backend:
        yield backend
    shutil.rmtree(place)


def _plant(_: StorageBackend, directory: Path, objects: Mapping[str, bytes]) -> None:
    for name, data in objects.items():
        path = _place(directory) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def _place(directory: Path) -> Path:
    """A link to where the server has the files of the store that was opened for `directory`."""
    return directory / "place"


KINDS = [
    StoreKind(
        name="gridftp",
        opened=_gridftp,
        lacks=_LACKS,
        documented="gridftp",
        plant=_plant,
        cannot_hold=_IMPOSSIBLE,
    )
]
