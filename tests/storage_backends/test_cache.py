"""The input cache: one download for all who ask, never an old version, never over its limit."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from storage_backends.cache.backend import CachedBackend
from storage_backends.cache.files import InputCache
from storage_backends.contract import Entry, Transfer
from storage_backends.errors import (
    StorageDeniedError,
    StorageNotFoundError,
    StorageTransientError,
)
from storage_backends.pool import TransferPool
from storage_backends.watch import TransferStoppedError, Watch
from tests.storage_backends.memory import MemoryBackend
from tests.storage_backends.stores import other_file_system
from tests.waiting import wait_until

DATA = bytes(range(256)) * 1000


@pytest.fixture
def store() -> MemoryBackend:
    store = MemoryBackend()
    store.put("in", DATA)
    return store


@pytest.fixture
def pool() -> Iterator[TransferPool]:
    pool = TransferPool(4)
    yield pool
    pool.close()


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[InputCache]:
    cache = InputCache(tmp_path / "cache", 1_000_000)
    yield cache
    cache.close()


@pytest.fixture
def cached(store: MemoryBackend, cache: InputCache, pool: TransferPool) -> CachedBackend:
    return CachedBackend(store, cache, "memory", pool)


@pytest.fixture
def fetch(cached: CachedBackend, tmp_path: Path) -> Callable[..., tuple[Transfer, Path]]:
    """Fetches a file to a new place each time."""
    count = iter(range(10_000))

    def fetch(name: str = "in", *, read_only: bool = False) -> tuple[Transfer, Path]:
        target = tmp_path / "jobs" / str(next(count)) / "file"
        return cached.fetch(name, target, read_only=read_only), target

    return fetch


Fetch = Callable[..., tuple[Transfer, Path]]


def files(cache: InputCache) -> list[Path]:
    return [path for path in cache.directory.iterdir() if path.name != "lock"]


def test_a_second_fetch_downloads_nothing(store: MemoryBackend, fetch: Fetch) -> None:
    first, second = fetch(), fetch()
    assert store.calls["fetch", "in"] == 1
    assert (first[0].cached, second[0].cached) == (0, len(DATA))
    assert first[0].bytes == second[0].bytes == len(DATA)
    assert first[0].checksum == second[0].checksum != None  # noqa: E711 - all three at once
    assert first[0].version == second[0].version
    assert first[1].read_bytes() == second[1].read_bytes() == DATA


def test_ten_who_ask_at_once_cause_one_download(store: MemoryBackend, fetch: Fetch) -> None:
    everybody = threading.Event()

    def wait_for_all(_name: str, watch: Watch) -> None:
        everybody.wait(10)
        watch.check()

    store.before_block = wait_for_all
    with ThreadPoolExecutor(10) as threads:
        fetches = [threads.submit(fetch) for _ in range(10)]
        wait_until(lambda: store.calls["entries", "in"] == 10, what="all to have asked")
        everybody.set()
        results = [each.result(20) for each in fetches]
    assert store.calls["fetch", "in"] == 1
    assert sorted(transfer.cached for transfer, _ in results) == [0] + 9 * [len(DATA)]
    assert all(path.read_bytes() == DATA for _, path in results)


def test_when_the_one_who_downloads_is_stopped_another_does_it(
    store: MemoryBackend, fetch: Fetch, cached: CachedBackend, tmp_path: Path
) -> None:
    stopped, begun = Watch(), threading.Event()

    def stall_the_first(_name: str, watch: Watch) -> None:
        if not begun.is_set():
            begun.set()
            watch.pause(20)

    store.before_block = stall_the_first
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(cached.fetch, "in", tmp_path / "stopped", watch=stopped)
        begun.wait(10)
        second = threads.submit(fetch)
        wait_until(lambda: store.calls["entries", "in"] == 2, what="the second")
        stopped.stop()
        with pytest.raises(TransferStoppedError):
            first.result(10)
        assert second.result(10)[1].read_bytes() == DATA
    assert not (tmp_path / "stopped").exists()


def test_one_who_waits_for_anothers_download_can_be_stopped(
    store: MemoryBackend, fetch: Fetch, cached: CachedBackend, tmp_path: Path
) -> None:
    begun, go, stopped = threading.Event(), threading.Event(), Watch()

    def stall(_name: str, _watch: Watch) -> None:
        begun.set()
        go.wait(20)

    store.before_block = stall
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(fetch)
        begun.wait(10)
        second = threads.submit(cached.fetch, "in", tmp_path / "stopped", watch=stopped)
        stopped.stop()
        with pytest.raises(TransferStoppedError):
            second.result(10)
        go.set()
        assert first.result(10)[1].read_bytes() == DATA


def test_one_who_is_stopped_at_the_end_of_the_download_gets_nothing(
    store: MemoryBackend,
    fetch: Fetch,
    cached: CachedBackend,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watch, download = Watch(), store.fetch

    def stop_at_the_end(*args: Any, **options: Any) -> Transfer:
        fetched = download(*args, **options)
        watch.stop()
        return fetched

    monkeypatch.setattr(store, "fetch", stop_at_the_end)
    with pytest.raises(TransferStoppedError):
        cached.fetch("in", tmp_path / "stopped", watch=watch)
    assert not (tmp_path / "stopped").exists()
    assert watch.bytes == len(DATA)
    assert fetch()[0].cached == len(DATA)


def test_a_stop_is_heard_before_and_after_the_store_is_asked(
    store: MemoryBackend, cached: CachedBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch, entries = Watch(), store.entries

    def stop_meanwhile(name: str) -> list[Entry]:
        watch.stop()
        return entries(name)

    monkeypatch.setattr(store, "entries", stop_meanwhile)
    for _ in range(2):
        with pytest.raises(TransferStoppedError):
            cached.fetch("in", tmp_path / "stopped", watch=watch)
    assert store.calls == {("entries", "in"): 1}


def test_a_failed_download_fails_for_all_who_waited_and_is_not_remembered(
    store: MemoryBackend, fetch: Fetch, cache: InputCache
) -> None:
    everybody = threading.Event()

    def fail(_name: str, _watch: Watch) -> None:
        everybody.wait(10)
        raise StorageTransientError("the store is away")

    store.before_block, works = fail, store.before_block
    with ThreadPoolExecutor(3) as threads:
        fetches = [threads.submit(fetch) for _ in range(3)]
        wait_until(lambda: store.calls["entries", "in"] == 3, what="all to have asked")
        everybody.set()
        for each in fetches:
            with pytest.raises(StorageTransientError, match="away"):
                each.result(10)
    assert files(cache) == []
    assert cache.used == 0
    store.before_block = works
    assert fetch()[1].read_bytes() == DATA


def test_a_replaced_object_is_never_served_old(store: MemoryBackend, fetch: Fetch) -> None:
    for number in range(5):
        data = DATA + bytes([number])
        store.put("in", data)
        for _ in range(2):
            assert fetch()[1].read_bytes() == data
    assert store.calls["fetch", "in"] == 5


def test_an_object_replaced_between_question_and_download_is_kept_as_what_it_is(
    store: MemoryBackend, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = store.entries

    def replaced_afterwards(name: str) -> list[object]:
        found = entries(name)
        if store.calls["entries", "in"] == 1:
            store.put("in", b"new")
        return found  # type: ignore[return-value]

    monkeypatch.setattr(store, "entries", replaced_afterwards)
    transfer, path = fetch()
    assert path.read_bytes() == b"new"
    assert transfer.version == "2"
    assert fetch()[0].cached == 3
    store.put("in", DATA)
    assert fetch()[1].read_bytes() == DATA


@pytest.mark.parametrize("read_only", [False, True])
def test_a_job_that_alters_its_copy_poisons_nobody(
    store: MemoryBackend, fetch: Fetch, read_only: bool
) -> None:
    for _ in range(2):
        _, path = fetch(read_only=read_only)
        path.chmod(0o644)
        with path.open("r+b") as file:
            file.write(b"altered")
        assert fetch(read_only=read_only)[1].read_bytes() == DATA
    assert store.calls["fetch", "in"] == (3 if read_only else 1)


def test_a_copy_has_the_permissions_of_a_download(fetch: Fetch, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.touch()
    modes = {fetch()[1].stat().st_mode for _ in range(2)}
    assert modes == {plain.stat().st_mode}


def test_a_file_for_reading_only_is_a_link_that_cannot_be_written(
    fetch: Fetch, cache: InputCache
) -> None:
    _, path = fetch(read_only=True)
    [kept] = files(cache)
    # Where the file system can share blocks there is no need of a link.
    if path.stat().st_ino == kept.stat().st_ino:
        assert path.stat().st_mode & 0o222 == 0


def test_fetching_again_to_the_same_place_leaves_nothing_else_there(
    cached: CachedBackend, tmp_path: Path
) -> None:
    for _ in range(3):
        cached.fetch("in", tmp_path / "job/file", read_only=True)
    assert [path.name for path in (tmp_path / "job").iterdir()] == ["file"]


def test_the_least_recently_used_go_first(
    store: MemoryBackend, fetch: Fetch, cache: InputCache
) -> None:
    for name in ("a", "b", "c"):
        store.put(name, bytes(400_000))
        fetch(name)
        fetch("a")
        assert cache.used <= cache.limit
    assert [store.calls["fetch", name] for name in "abc"] == [1, 1, 1]
    fetch("a")
    fetch("b")
    assert [store.calls["fetch", name] for name in "abc"] == [1, 2, 1]
    assert sum(path.stat().st_size for path in files(cache)) == cache.used == 800_000


def test_an_object_over_the_limit_passes_by_the_cache(
    store: MemoryBackend, fetch: Fetch, cache: InputCache
) -> None:
    fetch()
    store.put("big", bytes(1_000_001))
    transfer, path = fetch("big")
    assert path.stat().st_size == transfer.bytes == 1_000_001
    assert len(files(cache)) == 1
    assert fetch()[0].cached == len(DATA)


def test_a_store_without_versions_passes_by_the_cache(
    store: MemoryBackend, fetch: Fetch, cache: InputCache
) -> None:
    store.gives_versions = False
    for _ in range(10):
        assert fetch()[0].cached == 0
    assert files(cache) == []
    # It is not asked for ever.
    assert store.calls["entries", "in"] == 3


def test_a_store_whose_files_were_too_new_is_asked_again(
    store: MemoryBackend, cache: InputCache, pool: TransferPool, tmp_path: Path
) -> None:
    cached = CachedBackend(store, cache, "memory", pool, pause=0.0)
    store.gives_versions = False
    for _ in range(5):
        cached.fetch("in", tmp_path / "got")
    store.gives_versions = True
    assert [cached.fetch("in", tmp_path / "got").cached for _ in range(2)] == [0, len(DATA)]


def test_trees_without_files_say_nothing_of_a_stores_versions(
    store: MemoryBackend, fetch: Fetch
) -> None:
    store.put("t/empty/", b"")
    for _ in range(5):
        fetch("t/")
    assert [fetch()[0].cached for _ in range(2)] == [0, len(DATA)]


def test_stores_with_other_credentials_share_nothing(
    store: MemoryBackend, cache: InputCache, pool: TransferPool, tmp_path: Path
) -> None:
    for who in ("alice", "bob"):
        CachedBackend(store, cache, who, pool).fetch("in", tmp_path / who)
    assert store.calls["fetch", "in"] == 2


def test_a_tree_takes_one_listing_and_the_files_that_are_new(
    store: MemoryBackend, cached: CachedBackend, tmp_path: Path
) -> None:
    names = [f"t/{part}" for part in ("a", "b/c", "b/d", "e/")]
    for name in names:
        store.put(name, b"" if name.endswith("/") else name.encode())
    first = cached.fetch("t/", tmp_path / "one")
    store.put("t/b/c", b"replaced")
    second = cached.fetch("t/", tmp_path / "two")
    assert store.calls["entries", "t/"] == 2
    assert [store.calls["fetch", name] for name in names] == [1, 2, 1, 0]
    assert (tmp_path / "two/e").is_dir()
    assert (tmp_path / "two/b/c").read_bytes() == b"replaced"
    assert (tmp_path / "two/a").read_bytes() == b"t/a"
    assert (first.cached, second.cached) == (0, len("t/a" + "t/b/d"))
    assert first.checksum
    assert second.checksum
    assert first.checksum != second.checksum


@pytest.mark.parametrize("name", ["../x", "/x", "a//b", "./x", "a/../../x"])
def test_no_object_of_a_tree_lands_outside(
    store: MemoryBackend, cached: CachedBackend, tmp_path: Path, name: str
) -> None:
    store.put(f"t/{name}", b"x")
    with pytest.raises(StorageDeniedError):
        cached.fetch("t/", tmp_path / "job" / "tree")
    assert not [path for path in (tmp_path / "job").rglob("*") if path.is_file()]


def test_what_is_not_there_is_said_as_without_a_cache(fetch: Fetch) -> None:
    for name in ("gone", "gone/"):
        with pytest.raises(StorageNotFoundError, match="gone"):
            fetch(name)


def test_all_inputs_of_a_job_come_side_by_side(
    store: MemoryBackend, cached: CachedBackend, tmp_path: Path
) -> None:
    together = threading.Barrier(4, timeout=10)

    def wait_for_the_others(_name: str, _watch: Watch) -> None:
        together.wait()

    store.before_block = wait_for_the_others
    for number in range(4):
        store.put(str(number), b"x")
    watch = Watch()
    targets = {str(number): tmp_path / str(number) for number in range(4)}
    assert set(cached.fetch_all(targets, watch=watch)) == set(targets)
    assert watch.bytes == 4


def test_a_restarted_process_finds_the_cache_as_it_was_left(
    store: MemoryBackend, cache: InputCache, pool: TransferPool, tmp_path: Path
) -> None:
    old = CachedBackend(store, cache, "memory", pool)
    for name in ("a", "b", "c"):
        store.put(name, bytes(300_000))
        old.fetch(name, tmp_path / name)
    old.fetch("a", tmp_path / "again")
    altered = max(files(cache))
    # As after a crash: in the middle of a download, and of what nobody knows.
    (cache.directory / f"{'0' * 32}.part").write_bytes(b"half")
    (cache.directory / "strange").write_bytes(b"strange")
    cache.close()
    os.truncate(altered, 5)
    again = InputCache(tmp_path / "cache", 1_000_000)
    assert again.directory == cache.directory
    assert len(files(again)) == 2
    assert again.used == 600_000
    new = CachedBackend(store, again, "memory", pool)
    cached = [new.fetch(name, tmp_path / "new").cached for name in ("a", "b", "c")]
    assert sorted(cached) == [0, 300_000, 300_000]
    again.close()


def test_after_a_restart_too_the_least_recently_used_go_first(
    store: MemoryBackend, cache: InputCache, pool: TransferPool, tmp_path: Path
) -> None:
    backend = CachedBackend(store, cache, "memory", pool)
    for name in ("a", "b", "c"):
        store.put(name, bytes(300_000))
        backend.fetch(name, tmp_path / name)
    backend.fetch("a", tmp_path / "again")
    cache.close()
    again = InputCache(tmp_path / "cache", 600_000)
    new = CachedBackend(store, again, "memory", pool)
    assert [new.fetch(name, tmp_path / "new").cached for name in ("c", "a")] == [300_000, 300_000]
    again.close()


def test_two_processes_never_share_a_directory(cache: InputCache, tmp_path: Path) -> None:
    other = InputCache(tmp_path / "cache", 1)
    assert other.directory != cache.directory
    other.close()


def test_a_full_disk_of_the_cache_fails_no_job(
    store: MemoryBackend, pool: TransferPool, tmp_path: Path
) -> None:
    store.put("big", bytes(50_000_000))
    with other_file_system(tmp_path / "disk") as disk:
        cache = InputCache(disk, 1_000_000_000)
        filled = threading.Event()

        def fill(_name: str, _watch: Watch) -> None:
            if not filled.is_set():
                filled.set()
                (disk / "other").write_bytes(bytes(40_000_000))

        store.before_block = fill
        cached = CachedBackend(store, cache, "memory", pool)
        for _ in range(2):
            watch = Watch()
            transfer = cached.fetch("big", tmp_path / "big", watch=watch)
            assert (transfer.bytes, transfer.cached, watch.bytes) == (50_000_000, 0, 50_000_000)
            assert (tmp_path / "big").stat().st_size == 50_000_000
            assert files(cache) == []
            assert cache.used == 0
        cache.close()


def test_the_same_version_kept_twice_leaves_the_first_to_its_readers(cache: InputCache) -> None:
    def keep() -> None:
        with cache.room(4) as room:
            assert room is not None
            room.path.write_bytes(b"same")
            os.utime(room.path, ns=(1, 1))
            cache.keep("a" * 64, room, None)

    keep()
    with cache.use("a" * 64) as cached:
        assert cached is not None
        before = cached.path.stat().st_ino
        keep()
        assert cached.path.stat().st_ino == before
    assert cache.used == 4
    assert len(files(cache)) == 1
