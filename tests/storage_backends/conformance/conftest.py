"""Every backend, opened by name, on real parts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from storage_backends import StorageBackend, open_backend
from tests.storage_backends.stores import other_file_system


@pytest.fixture(params=["local", "nfs", "nfs on another file system"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """The directory behind the store."""
    directory = tmp_path / "store"
    if request.param.endswith("another file system"):
        with other_file_system(directory) as mounted:
            yield mounted
    else:
        directory.mkdir()
        yield directory


@pytest.fixture
def backend(root: Path, request: pytest.FixtureRequest) -> Iterator[StorageBackend]:
    name = request.node.callspec.params["root"].split(" ")[0]
    with open_backend(name, {"workdir": str(root), "nobody": "knows this option"}) as opened:
        yield opened


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A job's private directory."""
    directory = tmp_path / "job"
    directory.mkdir()
    return directory
