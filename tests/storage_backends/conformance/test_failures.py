"""Whole or not at all: what a transfer that failed or was stopped leaves behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage_backends import StorageBackend
from storage_backends.contract import Upload
from storage_backends.errors import StorageError, StorageNotFoundError
from storage_backends.watch import TransferStoppedError, Watch
from tests.storage_backends.conformance import behaviours
from tests.storage_backends.conformance.conftest import Fill
from tests.storage_backends.conformance.files import StoppingWatch, contents, listed, put


def stopped() -> Watch:
    watch = Watch()
    watch.stop()
    return watch


def test_a_fetch_that_fails_leaves_the_target_as_it_was(backend: StorageBackend, job: Path) -> None:
    put(job, "in/x", b"mine")
    with pytest.raises(StorageNotFoundError):
        backend.fetch("none", job / "in/x")
    assert contents(job / "in") == {"x": b"mine"}


def test_a_fetch_onto_a_directory_is_refused(
    backend: StorageBackend, fill: Fill, job: Path
) -> None:
    fill({"x": b"1"})
    put(job, "in/x/mine")
    with pytest.raises(StorageError):
        backend.fetch("x", job / "in/x")
    assert contents(job / "in") == {"x": None, "x/mine": b"some bytes"}


def test_a_stopped_fetch_brings_nothing(backend: StorageBackend, fill: Fill, job: Path) -> None:
    _stopped_fetch(backend, fill, job, stopped())


@pytest.mark.needs(behaviours.STOPS)
def test_a_fetch_that_is_stopped_midway_brings_nothing(
    backend: StorageBackend, fill: Fill, job: Path
) -> None:
    _stopped_fetch(backend, fill, job, StoppingWatch(1))


def _stopped_fetch(backend: StorageBackend, fill: Fill, job: Path, watch: Watch) -> None:
    fill({"x": b"new" * 1_000_000})
    put(job, "in/x", b"mine")
    with pytest.raises(TransferStoppedError):
        backend.fetch("x", job / "in/x", watch=watch)
    assert contents(job / "in") == {"x": b"mine"}


@pytest.mark.needs(behaviours.WRITES)
def test_a_stopped_store_makes_nothing(backend: StorageBackend, job: Path) -> None:
    put(job, "x", b"new" * 1_000_000)
    with pytest.raises(TransferStoppedError):
        backend.store(job / "x", "x", within=job, watch=stopped())
    with pytest.raises(StorageNotFoundError):
        backend.fetch("x", job / "back")


@pytest.mark.needs(behaviours.WRITES, behaviours.STOPS)
def test_a_store_that_is_stopped_midway_leaves_what_was_there(
    backend: StorageBackend, job: Path
) -> None:
    backend.store(put(job, "x", b"first"), "x", within=job)
    put(job, "x", b"new" * 1_000_000)
    with pytest.raises(TransferStoppedError):
        backend.store(job / "x", "x", within=job, watch=StoppingWatch(1))
    backend.fetch("x", job / "back")
    assert (job / "back").read_bytes() == b"first"


@pytest.mark.needs(behaviours.TREES, behaviours.STOPS)
def test_a_tree_that_is_stopped_leaves_no_half_of_a_file(
    backend: StorageBackend, fill: Fill, job: Path
) -> None:
    files = {f"{number:02}": bytes([number]) * 50_000 for number in range(20)}
    fill({f"tree/{name}": data for name, data in files.items()})
    with pytest.raises(TransferStoppedError):
        backend.fetch("tree/", job / "in", watch=StoppingWatch(300_000))
    landed = contents(job / "in")
    assert landed.items() <= files.items()
    assert len(landed) < len(files)
    assert {path.name for path in job.iterdir()} <= {"in"}


@pytest.mark.needs(behaviours.WRITES, behaviours.TREES, behaviours.STOPS)
def test_a_tree_that_is_stopped_leaves_nothing_odd_in_the_store(
    backend: StorageBackend, job: Path
) -> None:
    files = [(f"tree/{number:02}", 50_000) for number in range(20)]
    for name, size in files:
        put(job, name, bytes(size))
    with pytest.raises(TransferStoppedError):
        backend.store(job / "tree", "tree/", within=job, watch=StoppingWatch(300_000))
    left = listed(backend, "")
    assert set(left) <= {("tree/", 0), *files}
    assert len(left) < len(files)


@pytest.mark.needs(behaviours.WRITES, behaviours.TREES)
def test_a_stopped_store_of_a_tree_makes_nothing(backend: StorageBackend, job: Path) -> None:
    put(job, "out/x", b"1")
    with pytest.raises(TransferStoppedError):
        backend.store(job / "out", "tree/", within=job, watch=stopped())
    assert [entry for entry in backend.entries("") if not entry.name.endswith("/")] == []


@pytest.mark.needs(behaviours.WRITES, behaviours.TREES)
def test_nothing_but_the_files_is_left_of_transfers(backend: StorageBackend, job: Path) -> None:
    put(job, "out/a", b"1")
    put(job, "out/b/c", b"22")
    for _ in range(2):
        backend.store(job / "out", "tree/", within=job)
        backend.store(job / "out/a", "one", within=job)
        backend.fetch("tree/", job / "in")
        backend.fetch("one", job / "one")
    made = [("b/", 0), ("b/c", 2), ("a", 1)]
    tree = [("tree/", 0), *((f"tree/{name}", size) for name, size in made)]
    assert sorted(listed(backend, "")) == sorted([("one", 1), *tree])
    names = {"a", "b", "b/c"}
    assert set(contents(job)) == {
        *("in", "out", "one"),
        *(f"{top}/{name}" for top in ("in", "out") for name in names),
    }


@pytest.mark.needs(behaviours.WRITES)
def test_many_are_moved_in_one_call(backend: StorageBackend, job: Path) -> None:
    uploads = [
        Upload(
            source=put(job, f"out/{number}", str(number).encode()), name=f"n/{number}", within=job
        )
        for number in range(5)
    ]
    watch = Watch()
    stored = backend.store_all(uploads, watch=watch)
    assert {name: moved.bytes for name, moved in stored.items()} == {f"n/{n}": 1 for n in range(5)}
    wanted = {f"n/{number}": job / f"in/{number}" for number in range(5)}
    fetched = backend.fetch_all(wanted, watch=watch)
    assert list(fetched) == list(wanted)
    assert contents(job / "in") == contents(job / "out")
    assert watch.bytes == 10
    with pytest.raises(StorageNotFoundError, match="'n/none'"):
        backend.fetch_all({"n/1": job / "in/1", "n/none": job / "in/none"})
