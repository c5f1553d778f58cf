"""Every kind of store, on its real part. A test names what it needs of one with `needs`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from storage_backends import StorageBackend
from tests.storage_backends.conformance import behaviours, cases
from tests.storage_backends.kinds import directories, fsspec, gcs, gridftp, plgdata, service
from tests.storage_backends.kinds.kind import StoreKind

KINDS: list[StoreKind] = [
    kind
    for module in (directories, gcs, fsspec, gridftp, plgdata, service)
    for kind in module.KINDS
]

Fill = Callable[[Mapping[str, bytes]], None]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(*behaviours): only on kinds of store that have these")
    config.addinivalue_line("markers", "lacks(behaviour): only on kinds of store without it")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "kind" not in metafunc.fixturenames:
        return
    needed, lacking = (_behaviours(metafunc, mark) for mark in ("needs", "lacks"))
    kinds = [kind for kind in KINDS if not needed & kind.lacks and lacking <= kind.lacks]
    if "bad" in metafunc.fixturenames:
        pairs = [
            (kind, bad)
            for kind in kinds
            for bad in cases.BAD_OBJECTS
            if kind.plant and bad not in kind.cannot_hold
        ]
        metafunc.parametrize(("kind", "bad"), pairs, ids=[f"{k.name}-{bad}" for k, bad in pairs])
    else:
        metafunc.parametrize("kind", kinds, ids=[kind.name for kind in kinds])


def _behaviours(metafunc: pytest.Metafunc, mark: str) -> set[str]:
    named = {
        argument for found in metafunc.definition.iter_markers(mark) for argument in found.args
    }
    assert named <= set(behaviours.DESCRIPTIONS)
    return named


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The directory that the kind of store was given."""
    directory = tmp_path / "store"
    directory.mkdir()
    return directory


@pytest.fixture
def backend(kind: StoreKind, place: Path) -> Iterator[StorageBackend]:
    with kind.opened(place) as opened:
        yield opened


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A job's private directory."""
    directory = tmp_path / "job"
    directory.mkdir()
    return directory


@pytest.fixture
def fill(kind: StoreKind, backend: StorageBackend, place: Path, tmp_path: Path) -> Fill:
    """Puts files into the store, also into one that the backend only reads."""

    def put(files: Mapping[str, bytes]) -> None:
        if behaviours.WRITES in kind.lacks:
            assert kind.plant is not None
            kind.plant(backend, place, files)
            return
        source = tmp_path / "filling"
        for name, data in files.items():
            source.write_bytes(data)
            backend.store(source, name, within=tmp_path)
        source.unlink(missing_ok=True)

    return put


@pytest.fixture
def plant_bad(kind: StoreKind, backend: StorageBackend, place: Path, bad: str) -> str:
    """Plants the bad case; answers the name at fault."""
    assert kind.plant is not None
    names = cases.BAD_OBJECTS[bad]
    kind.plant(backend, place, dict.fromkeys(names, b"planted"))
    return names[0]
