"""The exam that every storage backend sits."""

from __future__ import annotations

import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from messaging.errors import JobError
from storage_backends import StorageBackend
from storage_backends.contract import Entry
from storage_backends.errors import (
    StorageDeniedError,
    StorageError,
    StorageNotFoundError,
)


def put(job: Path, name: str, data: bytes = b"some bytes") -> Path:
    path = job / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def contents(directory: Path) -> dict[str, bytes | None]:
    """Every file below `directory` with its bytes, every directory with None."""
    return {
        str(path.relative_to(directory)): path.read_bytes() if path.is_file() else None
        for path in directory.rglob("*")
    }


@pytest.mark.parametrize("data", [b"", b"x", os.urandom(3_000_000)], ids=["empty", "tiny", "3 MB"])
def test_a_file_comes_back_as_it_was_stored(
    backend: StorageBackend, job: Path, data: bytes
) -> None:
    stored = backend.store(put(job, "made", data), "deep/down/file", within=job)
    fetched = backend.fetch("deep/down/file", job / "in" / "file")
    assert (job / "in" / "file").read_bytes() == data
    assert stored.bytes == fetched.bytes == len(data)
    assert stored.seconds >= 0


def test_a_program_stays_executable(backend: StorageBackend, job: Path) -> None:
    put(job, "program").chmod(0o750)
    backend.store(job / "program", "program", within=job)
    backend.fetch("program", job / "copy")
    assert stat.S_IMODE((job / "copy").stat().st_mode) & 0o100


def test_a_tree_comes_back_with_its_empty_directories(backend: StorageBackend, job: Path) -> None:
    put(job, "out/a", b"1")
    put(job, "out/b/c/d", b"22")
    (job / "out/empty/inside").mkdir(parents=True)
    stored = backend.store(job / "out", "result/", within=job)
    fetched = backend.fetch("result/", job / "in")
    assert contents(job / "in") == contents(job / "out")
    assert stored.bytes == fetched.bytes == 3


def test_storing_again_replaces_a_file(backend: StorageBackend, job: Path) -> None:
    backend.store(put(job, "x", b"a long first version"), "x", within=job)
    backend.store(put(job, "x", b"second"), "x", within=job)
    backend.fetch("x", job / "y")
    assert (job / "y").read_bytes() == b"second"


def test_a_file_that_is_not_there_is_named(backend: StorageBackend, job: Path) -> None:
    with pytest.raises(StorageNotFoundError, match=r"file 'no/such\.txt'") as caught:
        backend.fetch("no/such.txt", job / "x")
    assert isinstance(caught.value, JobError)
    assert not (job / "x").exists()


def test_a_tree_that_is_not_there_is_named(backend: StorageBackend, job: Path) -> None:
    with pytest.raises(StorageNotFoundError, match="tree 'no/such/'"):
        backend.fetch("no/such/", job / "x")


def test_a_tree_that_holds_nothing_is_not_found(backend: StorageBackend, job: Path) -> None:
    (job / "empty").mkdir()
    with pytest.raises(StorageNotFoundError, match="holds nothing"):
        backend.store(job / "empty", "empty/", within=job)


def test_a_tree_is_no_file_and_a_file_is_no_tree(backend: StorageBackend, job: Path) -> None:
    put(job, "tree/file")
    backend.store(job / "tree", "tree/", within=job)
    with pytest.raises(StorageNotFoundError, match="write 'tree/' for a tree"):
        backend.fetch("tree", job / "x")
    with pytest.raises(StorageNotFoundError):
        backend.fetch("tree/file/", job / "x")


def test_an_output_that_is_not_there_is_named(backend: StorageBackend, job: Path) -> None:
    with pytest.raises(StorageNotFoundError, match=r"'result\.txt'"):
        backend.store(job / "result.txt", "result.txt", within=job)


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/passwd"])
def test_no_name_leads_out_of_the_store(backend: StorageBackend, job: Path, name: str) -> None:
    put(job, "made")
    with pytest.raises(StorageError):
        backend.fetch(name, job / "x")
    with pytest.raises(StorageError):
        backend.store(job / "made", name, within=job)
    assert not (job / "x").exists()


@pytest.mark.parametrize("link", ["/etc/passwd", "../outside", "/etc", "..", "nowhere"])
def test_a_symlink_that_leads_out_of_the_job_is_refused(
    backend: StorageBackend, job: Path, link: str
) -> None:
    (job.parent / "outside").write_text("secret")
    put(job, "out/good")
    (job / "out/link").symlink_to(link if link.startswith("/") else f"../{link}")
    with pytest.raises(StorageDeniedError, match="symbolic link"):
        backend.store(job / "out/link", "leaked", within=job)
    with pytest.raises(StorageDeniedError, match="symbolic link"):
        backend.store(job / "out", "leaked/", within=job)
    assert not [entry for entry in backend.entries("") if not entry.name.startswith("leaked/good")]


def test_a_symlink_inside_the_job_is_stored_as_what_it_leads_to(
    backend: StorageBackend, job: Path
) -> None:
    put(job, "real/file", b"content")
    (job / "out").mkdir()
    (job / "out/file").symlink_to("../real/file")
    (job / "out/directory").symlink_to("../real")
    backend.store(job / "out", "out/", within=job)
    backend.fetch("out/", job / "in")
    assert contents(job / "in") == {
        "file": b"content",
        "directory": None,
        "directory/file": b"content",
    }
    assert not any(path.is_symlink() for path in (job / "in").rglob("*"))


def test_a_loop_of_symlinks_is_refused(backend: StorageBackend, job: Path) -> None:
    put(job, "out/file")
    (job / "out/again").symlink_to(".")
    with pytest.raises(StorageDeniedError, match="above itself"):
        backend.store(job / "out", "out/", within=job)
    (job / "ring").symlink_to("ring")
    with pytest.raises(StorageDeniedError, match="loop"):
        backend.store(job / "ring", "ring", within=job)


@pytest.mark.timeout(20)
def test_a_fifo_is_refused_at_once(backend: StorageBackend, job: Path) -> None:
    (job / "out").mkdir()
    os.mkfifo(job / "out/pipe")
    with pytest.raises(StorageDeniedError, match="not a regular file"):
        backend.store(job / "out/pipe", "pipe", within=job)
    with pytest.raises(StorageDeniedError, match="not a regular file"):
        backend.store(job / "out", "out/", within=job)


def test_a_failed_store_leaves_nothing_half_written(backend: StorageBackend, job: Path) -> None:
    (job / "out").mkdir()
    os.mkfifo(job / "out/pipe")
    with pytest.raises(StorageDeniedError):
        backend.store(job / "out/pipe", "kept", within=job)
    assert backend.entries("") == []


def test_entries_are_all_that_a_tree_holds(backend: StorageBackend, job: Path) -> None:
    put(job, "out/b/c", b"123")
    put(job, "out/a", b"1")
    backend.store(job / "out", "out/", within=job)
    inside = [Entry("out/a", 1), Entry("out/b/", 0), Entry("out/b/c", 3)]
    assert backend.entries("out/") == inside
    assert backend.entries("") == [Entry("out/", 0), *inside]
    assert backend.entries("out/a") == [Entry("out/a", 1)]
    with pytest.raises(StorageNotFoundError):
        backend.entries("none")


def test_remove_takes_files_and_trees_and_does_not_mind_their_absence(
    backend: StorageBackend, job: Path
) -> None:
    put(job, "out/a")
    put(job, "out/b")
    backend.store(job / "out", "out/", within=job)
    backend.remove("out/a")
    assert [entry.name for entry in backend.entries("out/")] == ["out/b"]
    backend.remove("out/")
    backend.remove("out/")
    backend.remove("out/a")
    assert backend.entries("") == []


def test_many_threads_may_use_one_backend(backend: StorageBackend, job: Path) -> None:
    for number in range(30):
        put(job, f"made/{number}", str(number).encode() * number)

    def there_and_back(number: int) -> bytes:
        backend.store(job / f"made/{number}", f"shared/{number}", within=job)
        backend.fetch(f"shared/{number}", job / f"back/{number}")
        return (job / f"back/{number}").read_bytes()

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(there_and_back, range(30)))
    assert results == [str(number).encode() * number for number in range(30)]


def test_a_reader_never_sees_half_a_file(backend: StorageBackend, job: Path) -> None:
    versions = [bytes([letter]) * 400_000 for letter in b"ab"]
    for number, data in enumerate(versions):
        put(job, f"v{number}", data)
    backend.store(job / "v0", "x", within=job)
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            for number in (1, 0):
                backend.store(job / f"v{number}", "x", within=job)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(30):
            backend.fetch("x", job / "seen")
            assert (job / "seen").read_bytes() in versions
    finally:
        stop.set()
        writer.join()
