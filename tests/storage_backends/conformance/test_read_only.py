"""Stores that can do less say so at once, and in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage_backends import StorageBackend
from storage_backends.errors import StorageDeniedError
from tests.storage_backends.conformance import behaviours
from tests.storage_backends.conformance.files import put


@pytest.mark.lacks(behaviours.WRITES)
@pytest.mark.parametrize("name", ["x", "tree/"])
def test_a_store_that_is_only_read_refuses_writes(
    backend: StorageBackend, job: Path, name: str
) -> None:
    put(job, "out/x")
    source = job / "out" if name.endswith("/") else job / "out/x"
    with pytest.raises(StorageDeniedError, match=f"'{name}'"):
        backend.store(source, name, within=job)


@pytest.mark.lacks(behaviours.REMOVES)
@pytest.mark.parametrize("name", ["x", "tree/"])
def test_a_store_that_deletes_nothing_says_so(backend: StorageBackend, name: str) -> None:
    with pytest.raises(StorageDeniedError, match=f"'{name}'"):
        backend.remove(name)


@pytest.mark.lacks(behaviours.TREES)
def test_a_store_that_cannot_list_says_so(backend: StorageBackend, job: Path) -> None:
    with pytest.raises(StorageDeniedError, match="'tree/'"):
        backend.fetch("tree/", job / "in")
    with pytest.raises(StorageDeniedError, match="'tree/'"):
        backend.entries("tree/")
    assert not (job / "in").exists()
