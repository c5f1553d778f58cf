"""Directories as stores: `local`, and `nfs` on the same and on another file system."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from storage_backends import StorageBackend, open_backend
from tests.storage_backends.conformance import behaviours, cases
from tests.storage_backends.kinds.kind import StoreKind
from tests.storage_backends.stores import other_file_system

LACKS = frozenset({behaviours.CHECKSUMS, behaviours.RANGES})
#: A file system has no such names at all.
IMPOSSIBLE = frozenset(
    {cases.PARENT, cases.ABSOLUTE, cases.EMPTY_PART, cases.DOT, cases.LONG, cases.FILE_AND_TREE}
)


@contextmanager
def _opened(name: str, directory: Path) -> Iterator[StorageBackend]:
    with open_backend(name, {"workdir": str(directory), "nobody": "knows this option"}) as backend:
        yield backend


@contextmanager
def _elsewhere(directory: Path) -> Iterator[StorageBackend]:
    with other_file_system(directory / "mounted") as mounted, _opened("nfs", mounted) as backend:
        yield backend


def plant(_: StorageBackend, directory: Path, objects: Mapping[str, bytes]) -> None:
    for name, data in objects.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


KINDS = [
    StoreKind(
        name=name,
        opened=partial(_opened, name),
        lacks=LACKS,
        documented=name,
        plant=plant,
        cannot_hold=IMPOSSIBLE,
    )
    for name in ("local", "nfs")
] + [StoreKind(name="nfs on another file system", opened=_elsewhere, lacks=LACKS)]
