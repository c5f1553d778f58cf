"""Trees: there and back, listed, removed."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage_backends import StorageBackend
from storage_backends.errors import StorageDeniedError, StorageNotFoundError
from storage_backends.watch import Watch
from tests.storage_backends.conformance import behaviours
from tests.storage_backends.conformance.conftest import Fill
from tests.storage_backends.conformance.files import contents, listed, put

pytestmark = pytest.mark.needs(behaviours.TREES)


def test_a_tree_is_fetched_as_it_is(backend: StorageBackend, fill: Fill, job: Path) -> None:
    fill({"result/a": b"1", "result/b/c/d": b"22", "result/b/empty": b"", "results": b"no part"})
    watch = Watch()
    fetched = backend.fetch("result/", job / "deep/in", watch=watch)
    assert contents(job / "deep/in") == {
        "a": b"1",
        "b": None,
        "b/c": None,
        "b/c/d": b"22",
        "b/empty": b"",
    }
    assert fetched.bytes == watch.bytes == 3


@pytest.mark.needs(behaviours.WRITES)
def test_a_tree_comes_back_as_it_was_stored(backend: StorageBackend, job: Path) -> None:
    for number in range(50):
        put(job, f"out/{number % 7}/{number}", str(number).encode() * number)
    watch = Watch()
    stored = backend.store(job / "out", "deep/result/", within=job, watch=watch)
    fetched = backend.fetch("deep/result/", job / "in")
    assert contents(job / "in") == contents(job / "out")
    assert stored.bytes == watch.bytes == fetched.bytes > 0


@pytest.mark.needs(behaviours.WRITES, behaviours.EMPTY_DIRECTORIES)
def test_a_tree_comes_back_with_its_empty_directories(backend: StorageBackend, job: Path) -> None:
    put(job, "out/a", b"1")
    (job / "out/empty/inside").mkdir(parents=True)
    backend.store(job / "out", "result/", within=job)
    backend.fetch("result/", job / "in")
    assert contents(job / "in") == contents(job / "out")
    assert ("result/empty/inside/", 0) in listed(backend, "result/")


@pytest.mark.needs(behaviours.WRITES)
def test_storing_a_tree_again_replaces_its_files_and_keeps_the_others(
    backend: StorageBackend, job: Path
) -> None:
    for number, files in enumerate((("a", "b/c", "b/d"), ("a", "b/c", "e"))):
        for name in files:
            put(job, f"out{number}/{name}", f"{name} {number}".encode())
        backend.store(job / f"out{number}", "result/", within=job)
    backend.fetch("result/", job / "in")
    assert contents(job / "in") == {
        "a": b"a 1",
        "b": None,
        "b/c": b"b/c 1",
        "b/d": b"b/d 0",
        "e": b"e 1",
    }


def test_fetching_a_tree_replaces_its_files_and_keeps_the_others(
    backend: StorageBackend, fill: Fill, job: Path
) -> None:
    fill({"result/a": b"new", "result/b/c": b"new"})
    put(job, "in/a", b"old")
    put(job, "in/b/d", b"old")
    backend.fetch("result/", job / "in")
    assert contents(job) == {
        "in": None,
        "in/a": b"new",
        "in/b": None,
        "in/b/c": b"new",
        "in/b/d": b"old",
    }


def test_a_tree_that_is_not_there_is_named(backend: StorageBackend, job: Path) -> None:
    with pytest.raises(StorageNotFoundError, match="tree 'no/such/'") as caught:
        backend.fetch("no/such/", job / "x")
    assert "\n" not in str(caught.value)
    assert not (job / "x").exists()
    with pytest.raises(StorageNotFoundError, match="'no/such/'"):
        backend.entries("no/such/")


@pytest.mark.needs(behaviours.WRITES)
def test_a_tree_that_holds_nothing_is_not_found(backend: StorageBackend, job: Path) -> None:
    (job / "empty").mkdir()
    with pytest.raises(StorageNotFoundError, match=r"'empty/'.*holds nothing"):
        backend.store(job / "empty", "empty/", within=job)
    with pytest.raises(StorageNotFoundError, match="'none/'"):
        backend.store(job / "none", "none/", within=job)
    assert backend.entries("") == []


def test_a_file_is_no_tree(backend: StorageBackend, fill: Fill, job: Path) -> None:
    fill({"tree/file": b"1"})
    with pytest.raises(StorageNotFoundError):
        backend.fetch("tree/file/", job / "x")
    assert not (job / "x").exists()


@pytest.mark.needs(behaviours.WRITES)
def test_an_output_that_is_a_file_is_no_tree(backend: StorageBackend, job: Path) -> None:
    put(job, "out")
    with pytest.raises(StorageNotFoundError, match="'out/'"):
        backend.store(job / "out", "out/", within=job)


def test_entries_are_all_that_a_tree_holds(backend: StorageBackend, fill: Fill) -> None:
    fill({"out/b/c": b"123", "out/a": b"1", "out/b.txt": b""})
    inside = [("out/a", 1), ("out/b.txt", 0), ("out/b/", 0), ("out/b/c", 3)]
    assert sorted(listed(backend, "out/")) == inside
    assert sorted(listed(backend, "")) == [("out/", 0), *inside]
    assert listed(backend, "out/a") == [("out/a", 1)]
    assert listed(backend, "out/b/") == [("out/b/c", 3)]


def test_entries_are_sorted_by_name(backend: StorageBackend, fill: Fill) -> None:
    fill({f"out/{name}": b"" for name in ("b/c", "b.txt", "b0", "a", "B", "~", "10", "9")})
    names = [entry.name for entry in backend.entries("out/")]
    assert names == sorted(names)


@pytest.mark.needs(behaviours.WRITES, behaviours.REMOVES)
def test_remove_takes_files_and_trees_and_does_not_mind_their_absence(
    backend: StorageBackend, fill: Fill
) -> None:
    fill({"out/a": b"1", "out/b": b"2", "outer": b"3"})
    backend.remove("out/a")
    backend.remove("out/a")
    assert listed(backend, "out/") == [("out/b", 1)]
    backend.remove("out/")
    backend.remove("out/")
    backend.remove("no/such/tree/")
    assert listed(backend, "") == [("outer", 1)]


@pytest.mark.needs(behaviours.WRITES, behaviours.CHECKSUMS)
def test_both_ways_record_the_same_checksum_of_a_tree(backend: StorageBackend, job: Path) -> None:
    put(job, "out/b/c", b"123")
    put(job, "out/a", b"1")
    stored = backend.store(job / "out", "out/", within=job)
    assert stored.checksum
    assert backend.fetch("out/", job / "in").checksum == stored.checksum
    put(job, "out/a", b"2")
    assert backend.store(job / "out", "out/", within=job).checksum != stored.checksum


def test_a_tree_with_a_bad_name_is_refused_and_named(
    backend: StorageBackend, plant_bad: str, job: Path
) -> None:
    with pytest.raises(StorageDeniedError) as caught:
        backend.fetch("bad/", job / "in")
    message = str(caught.value)
    assert plant_bad[4:24] in message or ascii(plant_bad[4:24])[1:-1] in message
    assert message.isprintable()
    assert contents(job) in ({}, {"in": None})
    assert not (job.parent / "escaped").exists()
    assert not Path("/tmp/portfire-escaped").exists()
