"""Many threads on one backend."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from storage_backends import StorageBackend
from tests.storage_backends.conformance import behaviours
from tests.storage_backends.conformance.conftest import Fill
from tests.storage_backends.conformance.files import contents, put

pytestmark = pytest.mark.needs(behaviours.WRITES)


def test_many_threads_may_use_one_backend(backend: StorageBackend, job: Path) -> None:
    for number in range(30):
        put(job, f"made/{number}", str(number).encode() * number)

    def there_and_back(number: int) -> bytes:
        backend.store(job / f"made/{number}", f"shared/{number}", within=job)
        backend.fetch(f"shared/{number}", job / f"back/{number}")
        return (job / f"back/{number}").read_bytes()

    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(there_and_back, range(30)))
    assert results == [str(number).encode() * number for number in range(30)]


@pytest.mark.needs(behaviours.TREES)
def test_eight_threads_fetch_one_tree(backend: StorageBackend, fill: Fill, job: Path) -> None:
    files = {f"{number % 3}/{number}": bytes([number]) * 1000 for number in range(12)}
    fill({f"tree/{name}": data for name, data in files.items()})
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda n: backend.fetch("tree/", job / f"in{n}"), range(8)))
    for number in range(8):
        fetched = contents(job / f"in{number}")
        assert {name: data for name, data in fetched.items() if data is not None} == files


@pytest.mark.needs(behaviours.TREES)
def test_eight_threads_store_one_tree(backend: StorageBackend, job: Path) -> None:
    for number in range(8):
        for name in ("same", f"own/{number}", f"{number}/deep/own"):
            put(job, f"out{number}/{name}", bytes([number]) * 5000)

    def store(number: int) -> None:
        backend.store(job / f"out{number}", "tree/", within=job)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(store, range(8)))
    backend.fetch("tree/", job / "in")
    fetched = {name: data for name, data in contents(job / "in").items() if data is not None}
    assert fetched.pop("same") in [bytes([number]) * 5000 for number in range(8)]
    for number in range(8):
        assert fetched.pop(f"own/{number}") == bytes([number]) * 5000
        assert fetched.pop(f"{number}/deep/own") == bytes([number]) * 5000
    assert fetched == {}


@pytest.mark.needs(behaviours.WHOLE_VERSIONS)
def test_ten_replace_a_file_while_others_fetch_it(backend: StorageBackend, job: Path) -> None:
    _replace_and_fetch(backend, job, writers=10, rounds=4, fetches=30, size=300_000)


@pytest.mark.needs(behaviours.WHOLE_VERSIONS, behaviours.RANGES)
def test_a_file_that_is_fetched_in_ranges_is_of_one_version(
    backend: StorageBackend, job: Path
) -> None:
    _replace_and_fetch(backend, job, writers=2, rounds=2, fetches=3, size=40_000_000)


def _replace_and_fetch(
    backend: StorageBackend, job: Path, *, writers: int, rounds: int, fetches: int, size: int
) -> None:
    versions = [bytes([number]) * (size + number) for number in range(writers)]
    for number, data in enumerate(versions):
        put(job, f"v{number}", data)
    backend.store(job / "v0", "x", within=job)

    def write(number: int) -> None:
        for _ in range(rounds):
            backend.store(job / f"v{number}", "x", within=job)

    def read(number: int) -> None:
        for _ in range(fetches // 3):
            backend.fetch("x", job / f"seen{number}")
            assert (job / f"seen{number}").read_bytes() in versions

    with ThreadPoolExecutor(writers + 3) as threads:
        readers = [threads.submit(read, number) for number in range(3)]
        for writing in [threads.submit(write, number) for number in range(writers)]:
            writing.result()
        for reading in readers:
            reading.result()
    backend.fetch("x", job / "last")
    assert (job / "last").read_bytes() in versions
