"""One file, there and back."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

import pytest

from messaging.errors import JobError
from storage_backends import StorageBackend
from storage_backends.errors import StorageNotFoundError
from storage_backends.watch import Watch
from tests.storage_backends.conformance import behaviours, cases
from tests.storage_backends.conformance.conftest import Fill
from tests.storage_backends.conformance.files import contents, put
from tests.waiting import wait_until

_SIZES = {"empty": 0, "tiny": 1, "3 MB": 3_000_000}


def data_of(size: int) -> bytes:
    """Bytes that differ everywhere, so that none can stand for another."""
    return hashlib.shake_128(b"seed").digest(size)


@pytest.mark.parametrize("size", _SIZES.values(), ids=_SIZES)
def test_a_file_is_fetched_as_it_is(
    backend: StorageBackend, fill: Fill, job: Path, size: int
) -> None:
    data = data_of(size)
    fill({"deep/down/file": data})
    watch = Watch()
    fetched = backend.fetch("deep/down/file", job / "in" / "file", watch=watch)
    assert contents(job) == {"in": None, "in/file": data}
    assert fetched.bytes == watch.bytes == size
    assert fetched.seconds >= 0
    assert fetched.cached == 0


@pytest.mark.needs(behaviours.WRITES)
@pytest.mark.parametrize("size", _SIZES.values(), ids=_SIZES)
def test_a_file_comes_back_as_it_was_stored(backend: StorageBackend, job: Path, size: int) -> None:
    data = data_of(size)
    watch = Watch()
    stored = backend.store(put(job, "made", data), "deep/down/file", within=job, watch=watch)
    backend.fetch("deep/down/file", job / "back")
    assert (job / "back").read_bytes() == data
    assert stored.bytes == watch.bytes == size
    assert stored.seconds >= 0


@pytest.mark.needs(behaviours.WRITES)
def test_a_file_of_40_mb_comes_back_as_it_was_stored(backend: StorageBackend, job: Path) -> None:
    data = data_of(40_000_001)
    stored, fetched = Watch(), Watch()
    backend.store(put(job, "made", data), "large", within=job, watch=stored)
    backend.fetch("large", job / "back", watch=fetched)
    assert (job / "back").read_bytes() == data
    assert stored.bytes == fetched.bytes == len(data)


@pytest.mark.needs(behaviours.WRITES)
def test_storing_again_replaces_a_file(backend: StorageBackend, job: Path) -> None:
    backend.store(put(job, "x", b"a long first version"), "x", within=job)
    backend.store(put(job, "x", b"second"), "x", within=job)
    backend.fetch("x", job / "y")
    assert (job / "y").read_bytes() == b"second"


def test_fetching_again_replaces_a_file(backend: StorageBackend, fill: Fill, job: Path) -> None:
    fill({"x": b"from the store"})
    put(job, "x", b"something older and longer")
    backend.fetch("x", job / "x")
    assert contents(job) == {"x": b"from the store"}


@pytest.mark.needs(behaviours.WRITES, behaviours.ODD_NAMES)
def test_odd_names_mean_themselves(backend: StorageBackend, job: Path) -> None:
    for name in cases.ODD_NAMES:
        backend.store(put(job, "made", name.encode()), f"odd/{name}", within=job)
    for name in cases.ODD_NAMES:
        backend.fetch(f"odd/{name}", job / "back")
        assert (job / "back").read_bytes() == name.encode()


@pytest.mark.needs(behaviours.WRITES, behaviours.ODD_NAMES, behaviours.TREES)
def test_odd_names_are_listed_and_fetched_as_a_tree(backend: StorageBackend, job: Path) -> None:
    for name in cases.ODD_NAMES:
        put(job, f"out/{name}", name.encode())
    backend.store(job / "out", "odd tree/", within=job)
    backend.fetch("odd tree/", job / "in")
    assert contents(job / "in") == contents(job / "out")
    files = [entry.name for entry in backend.entries("odd tree/") if not entry.name.endswith("/")]
    assert files == sorted(f"odd tree/{name}" for name in cases.ODD_NAMES)


@pytest.mark.needs(behaviours.WRITES, behaviours.LONG_NAMES)
@pytest.mark.parametrize("name", cases.LONG_NAMES, ids=["one part", "four parts", "two bytes each"])
def test_a_long_name_comes_back(backend: StorageBackend, job: Path, name: str) -> None:
    backend.store(put(job, "made", b"1"), name, within=job)
    backend.fetch(name, job / name)
    assert (job / name).read_bytes() == b"1"


@pytest.mark.needs(behaviours.WRITES, behaviours.PERMISSIONS)
def test_a_program_stays_executable(backend: StorageBackend, job: Path) -> None:
    put(job, "program").chmod(0o750)
    backend.store(job / "program", "program", within=job)
    backend.fetch("program", job / "copy")
    assert stat.S_IMODE((job / "copy").stat().st_mode) == 0o750


def test_what_is_fetched_can_be_altered(backend: StorageBackend, fill: Fill, job: Path) -> None:
    fill({"x": b"1"})
    backend.fetch("x", job / "x")
    assert stat.S_IMODE((job / "x").stat().st_mode) & 0o600 == 0o600


@pytest.mark.needs(behaviours.WRITES, behaviours.CHECKSUMS)
def test_both_ways_record_the_same_checksum(backend: StorageBackend, job: Path) -> None:
    data = data_of(100_000)
    stored = backend.store(put(job, "made", data), "x", within=job)
    fetched = backend.fetch("x", job / "x")
    assert stored.checksum
    assert ":" in stored.checksum
    assert fetched.checksum == stored.checksum
    other = backend.store(put(job, "made", data[:-1] + b"!"), "x", within=job)
    assert other.checksum != stored.checksum


@pytest.mark.needs(behaviours.WRITES, behaviours.VERSIONS)
def test_a_version_tells_one_content_from_another(backend: StorageBackend, job: Path) -> None:
    source = put(job, "x", b"first")
    told = backend.store(source, "x", within=job).version
    first = _version(backend, "x")
    assert told in (None, first)
    facts = source.stat()
    put(job, "x", b"other")
    os.utime(source, ns=(facts.st_atime_ns, facts.st_mtime_ns))  # same size, same time
    told = backend.store(source, "x", within=job).version
    second = _version(backend, "x")
    assert told in (None, second)
    assert first != second
    assert backend.fetch("x", job / "back").version == second


def _version(backend: StorageBackend, name: str) -> str | None:
    """The file's version, once it has one: some stores tell by a time, which must be past."""
    return wait_until(lambda: backend.entries(name)[0].version, what="a version")


def test_a_file_that_is_not_there_is_named(backend: StorageBackend, fill: Fill, job: Path) -> None:
    fill({"no/other": b"1"})
    with pytest.raises(StorageNotFoundError, match=r"file 'no/such\.txt'") as caught:
        backend.fetch("no/such.txt", job / "in/x")
    assert isinstance(caught.value, JobError)
    assert "\n" not in str(caught.value)
    assert not (job / "in/x").exists()


@pytest.mark.needs(behaviours.TREES)
def test_the_entry_of_a_file_that_is_not_there_is_not_found(backend: StorageBackend) -> None:
    with pytest.raises(StorageNotFoundError, match="'none'"):
        backend.entries("none")


@pytest.mark.needs(behaviours.WRITES)
def test_an_output_that_is_not_there_is_named(backend: StorageBackend, job: Path) -> None:
    with pytest.raises(StorageNotFoundError, match=r"'result\.txt'"):
        backend.store(job / "result.txt", "result.txt", within=job)


@pytest.mark.needs(behaviours.WRITES)
def test_an_output_that_is_a_directory_is_no_file(backend: StorageBackend, job: Path) -> None:
    put(job, "out/file")
    with pytest.raises(StorageNotFoundError, match="'out/' for a tree"):
        backend.store(job / "out", "out", within=job)


@pytest.mark.needs(behaviours.TREES, behaviours.FILE_AND_TREE)
def test_a_tree_is_no_file(backend: StorageBackend, fill: Fill, job: Path) -> None:
    fill({"tree/file": b"1"})
    with pytest.raises(StorageNotFoundError, match="write 'tree/' for a tree"):
        backend.fetch("tree", job / "x")
    assert not (job / "x").exists()
