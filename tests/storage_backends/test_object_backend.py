"""Trees and large files over a store of objects, whole or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage_backends.errors import (
    StorageCorruptError,
    StorageDeniedError,
    StorageNotFoundError,
    StorageTransientError,
)
from storage_backends.objects.backend import ObjectBackend
from storage_backends.objects.listing import tree_of
from storage_backends.objects.store import Sink, StoredObject
from storage_backends.pool import TransferPool
from storage_backends.retrying import Retry
from storage_backends.watch import TransferStoppedError, Watch
from tests.storage_backends.object_memory import ObjectsInMemory

DATA = os.urandom(10_500)
HASTY = Retry(0.001, 0.002, deadline=0.05)
Opened = Callable[..., tuple[ObjectsInMemory, ObjectBackend]]


@pytest.fixture
def opened() -> Iterator[Opened]:
    pool = TransferPool(4)

    def make(
        objects: dict[str, bytes] | None = None, range_size: int | None = None
    ) -> tuple[ObjectsInMemory, ObjectBackend]:
        store = ObjectsInMemory(objects, range_size=range_size)
        return store, ObjectBackend(store, pool, HASTY)

    yield make
    pool.close()


def nth(number: int, error: Exception, request: str) -> Callable[[str, str], None]:
    """A fault: the `number`-th `request` raises `error`, and so do all after it."""
    left = [number]

    def fault(asked: str, _: str) -> None:
        left[0] -= asked == request
        if left[0] <= 0 and asked == request:
            raise error

    return fault


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def files_below(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


# Names

part = st.text(
    st.characters(exclude_characters="/\\\x7f", exclude_categories=["Cc", "Cs"]),
    min_size=1,
    max_size=8,
).filter(lambda text: text not in (".", ".."))
plain = st.lists(part, min_size=1, max_size=4).map("/".join)


def objects(names: set[str]) -> list[StoredObject]:
    return [StoredObject(f"tree/{name}", 1) for name in names]


@given(st.sets(plain, min_size=1, max_size=8), st.sets(plain, max_size=3))
def test_plain_names_become_files_in_directories(files: set[str], made: set[str]) -> None:
    listed = objects(files | {f"{name}/" for name in made})
    above = {
        "/".join(name.split("/")[:depth]) + "/"
        for name in files | {f"{name}/." for name in made}
        for depth in range(1, name.count("/") + 1)
    }
    if above & {f"{name}/" for name in files}:
        with pytest.raises(StorageDeniedError, match="both as a file and as a directory"):
            tree_of("tree/", listed)
        return
    tree = tree_of("tree/", listed)
    assert set(tree.files) == files
    assert set(tree.directories) == above
    assert list(tree.directories) == sorted(tree.directories)


@given(st.text(st.sampled_from("a./\\\n"), min_size=1, max_size=12))
def test_no_object_name_leads_out_of_the_target(name: str) -> None:
    target = Path("/job/target")
    try:
        tree = tree_of("tree/", objects({name, "good"}))
    except StorageDeniedError:
        return
    for inside in (*tree.files, *tree.directories):
        path = Path(os.path.normpath(target / inside))
        assert path.is_relative_to(target)
        assert path != target
        assert str(path) == f"{target}/{inside.removesuffix('/')}"


@pytest.mark.parametrize("bad", ["../../out", "/out", "a//b", "a/./b", "a\\b", "a\x1bb", "x" * 300])
def test_one_bad_name_keeps_the_whole_tree_away(opened: Opened, tmp_path: Path, bad: str) -> None:
    store, backend = opened({"tree/a": DATA, f"tree/{bad}": DATA})
    with pytest.raises(StorageDeniedError, match=r"tree 'tree/' .*object name"):
        backend.fetch("tree/", tmp_path / "in")
    assert names(tmp_path) == []
    assert store.requests == ["list tree/"]


# Fetching


def test_a_tree_is_one_listing_and_one_request_for_each_file(
    opened: Opened, tmp_path: Path
) -> None:
    stored = {f"tree/{number % 3}/{number}": DATA for number in range(30)}
    store, backend = opened({**stored, "tree/empty/": b"", "tree/nothing": b""})
    moved = backend.fetch("tree/", tmp_path / "in")
    assert sorted(store.requests) == sorted(["list tree/", *(f"read {name}" for name in stored)])
    assert {f"tree/{name}": data for name, data in files_below(tmp_path / "in").items()} == {
        **stored,
        "tree/nothing": b"",
    }
    assert (tmp_path / "in/empty").is_dir()
    assert moved.bytes == 30 * len(DATA)
    assert moved.checksum is not None
    assert moved.checksum.startswith("md5:")


@pytest.mark.parametrize("error", [StorageTransientError, StorageDeniedError])
def test_a_tree_that_fails_leaves_nothing_where_nothing_was(
    opened: Opened, tmp_path: Path, error: type[Exception]
) -> None:
    store, backend = opened({f"tree/{number}/file": DATA for number in range(20)})
    store.fault = nth(120, error("at last"), "block")
    with pytest.raises(error, match=r"file 'tree/.*at last"):
        backend.fetch("tree/", tmp_path / "in")
    assert names(tmp_path) == []


def test_a_tree_that_fails_keeps_what_was_there(opened: Opened, tmp_path: Path) -> None:
    store, backend = opened({"tree/a": DATA, "tree/b/c": DATA})
    (tmp_path / "in/b").mkdir(parents=True)
    (tmp_path / "in/b/mine").write_bytes(b"mine")
    store.fault = nth(1, StorageDeniedError("no"), "read")
    with pytest.raises(StorageDeniedError):
        backend.fetch("tree/", tmp_path / "in")
    assert files_below(tmp_path) == {"in/b/mine": b"mine"}


@pytest.mark.parametrize("size", [0, 1, 999, 1000, 1001, 10_500])
def test_a_large_file_comes_in_ranges(opened: Opened, tmp_path: Path, size: int) -> None:
    store, backend = opened({"x": DATA[:size]}, range_size=1000)
    moved = backend.fetch("x", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == DATA[:size]
    assert store.requests.count("read x") == -(-size // 1000)
    assert moved.checksum == store.stat("x").checksum


def test_only_the_range_that_failed_is_fetched_again(opened: Opened, tmp_path: Path) -> None:
    store, backend = opened({"x": DATA}, range_size=1000)
    failures = [StorageTransientError("cut off"), StorageTransientError("again")]

    def fault(request: str, _: str) -> None:
        if request == "block" and failures and len(store.requests) > 5:
            raise failures.pop()

    store.fault = fault
    watch = Watch()
    backend.fetch("x", tmp_path / "x", watch=watch)
    assert (tmp_path / "x").read_bytes() == DATA
    assert store.requests.count("read x") == 11 + 2
    assert watch.bytes == len(DATA)


@pytest.mark.parametrize("range_size", [None, 1000])
def test_altered_bytes_never_land(opened: Opened, tmp_path: Path, range_size: int | None) -> None:
    store, backend = opened({"x": DATA}, range_size)
    store.alter = lambda _, block: bytes([block[0] ^ 1]) + block[1:]
    with pytest.raises(StorageCorruptError, match=r"file 'x' \(test://objects/x\): md5:"):
        backend.fetch("x", tmp_path / "in" / "x")
    assert names(tmp_path / "in") == []


@pytest.mark.parametrize("range_size", [None, 1000])
@pytest.mark.parametrize("alter", [lambda block: block[:-1], lambda block: block + b"x"])
def test_bytes_too_few_or_too_many_never_land(
    opened: Opened, tmp_path: Path, range_size: int | None, alter: Callable[[bytes], bytes]
) -> None:
    store, backend = opened({"x": DATA}, range_size)
    store.alter = lambda _, block: alter(block)
    with pytest.raises(StorageCorruptError, match="bytes came instead of"):
        backend.fetch("x", tmp_path / "in" / "x")
    assert names(tmp_path / "in") == []


@pytest.mark.parametrize("range_size", [None, 1000])
def test_a_file_replaced_midway_is_fetched_whole_and_new(
    opened: Opened, tmp_path: Path, range_size: int | None
) -> None:
    store, backend = opened({"tree/x": DATA}, range_size)
    newer = [DATA[::-1]]

    def replace(request: str, _: str) -> None:
        if request == "block" and newer and len(store.requests) > 1:
            store.put("tree/x", newer.pop())

    store.fault = replace
    backend.fetch("tree/", tmp_path / "in")
    assert files_below(tmp_path / "in") == {"x": DATA[::-1]}


class ObjectsOfNoVersion(ObjectsInMemory):
    """Cannot tell why fewer bytes came."""

    def read(self, found: StoredObject, start: int, end: int, into: Sink, watch: Watch) -> None:
        self._asked("read", found.name)
        data = self.objects[found.name][start:end]
        into.write(data)
        watch.moved(len(data))
        if len(data) < end - start:
            raise StorageTransientError(f"{len(data)} bytes came of {end - start}")


def test_a_file_replaced_by_a_shorter_one_is_looked_at_again(tmp_path: Path) -> None:
    store, shorter = ObjectsOfNoVersion({"x": DATA}), [b"shorter"]

    def replace(request: str, name: str) -> None:
        if request == "read" and shorter:
            store.put(name, shorter.pop())

    store.fault = replace
    with closing(TransferPool(1)) as pool:
        assert ObjectBackend(store, pool, HASTY).fetch("x", tmp_path / "x").bytes == 7
    assert (tmp_path / "x").read_bytes() == b"shorter"


def test_a_file_removed_midway_is_not_found(opened: Opened, tmp_path: Path) -> None:
    store, backend = opened({"tree/x": DATA, "tree/y": DATA})
    store.fault = lambda request, _: store.delete("tree/x") if request == "block" else None
    with pytest.raises(StorageNotFoundError, match="file 'tree/x'"):
        backend.fetch("tree/", tmp_path / "in")
    assert names(tmp_path) == []


@pytest.mark.parametrize("range_size", [None, 1000])
def test_a_stop_midway_leaves_nothing(
    opened: Opened, tmp_path: Path, range_size: int | None
) -> None:
    store, backend = opened({f"tree/{number}": DATA for number in range(10)}, range_size)
    watch = Watch()
    store.fault = lambda *_: watch.stop() if watch.bytes > 30_000 else None
    with pytest.raises(TransferStoppedError):
        backend.fetch("tree/", tmp_path / "in", watch=watch)
    assert names(tmp_path) == []
    assert len(store.requests) < 1 + 10 * 11


def test_what_the_own_disk_says_is_not_tried_again(opened: Opened, tmp_path: Path) -> None:
    store, backend = opened({"x": DATA, "tree/x": DATA})
    (tmp_path / "file").touch()
    with pytest.raises(StorageDeniedError, match=r"file 'x' .*a file is in the place"):
        backend.fetch("x", tmp_path / "file" / "x")
    with pytest.raises(StorageDeniedError, match=r"tree 'tree/' .*a file is in the place"):
        backend.fetch("tree/", tmp_path / "file")
    store.fault = nth(1, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "block")
    with pytest.raises(StorageTransientError, match=r"file 'x' .*No space left"):
        backend.fetch("x", tmp_path / "x")
    assert store.requests.count("read x") == 1
    assert names(tmp_path) == ["file"]


# Storing


def test_refusals_are_found_before_the_first_byte_leaves(opened: Opened, tmp_path: Path) -> None:
    store, backend = opened()
    (tmp_path / "out/z").mkdir(parents=True)
    (tmp_path / "out/a").write_bytes(DATA)
    os.mkfifo(tmp_path / "out/z/pipe")
    with pytest.raises(StorageDeniedError, match="not a regular file"):
        backend.store(tmp_path / "out", "out/", within=tmp_path)
    assert store.requests == []


def test_only_empty_directories_are_made_where_none_are_wanted(
    opened: Opened, tmp_path: Path
) -> None:
    store, backend = opened()
    (tmp_path / "out/a/b/empty").mkdir(parents=True)
    (tmp_path / "out/a/file").write_bytes(DATA)
    backend.store(tmp_path / "out", "out/", within=tmp_path)
    assert sorted(store.objects) == ["out/a/b/empty/", "out/a/file"]


def test_directories_are_made_once_and_before_the_files(opened: Opened, tmp_path: Path) -> None:
    store, backend = opened()
    store.wants_directories = True
    (tmp_path / "file").write_bytes(DATA)
    backend.store(tmp_path / "file", "a/b/1", within=tmp_path)
    assert sorted(store.requests[:2]) == ["make a/", "make a/b/"]
    backend.store(tmp_path / "file", "a/b/2", within=tmp_path)
    assert store.requests[2:] == ["write a/b/1", "write a/b/2"]
    backend.remove("a/b/")
    backend.store(tmp_path / "file", "a/b/3", within=tmp_path)
    assert sorted(store.objects) == ["a/", "a/b/", "a/b/3"]


def test_a_refused_placeholder_does_not_keep_a_file_away(opened: Opened, tmp_path: Path) -> None:
    store, backend = opened()
    store.wants_directories = True
    (tmp_path / "out/empty").mkdir(parents=True)
    (tmp_path / "file").write_bytes(DATA)
    store.fault = nth(1, StorageDeniedError("only below a/b/"), "make")
    backend.store(tmp_path / "file", "a/b/1", within=tmp_path)
    assert sorted(store.objects) == ["a/b/1"]
    with pytest.raises(StorageDeniedError, match="tree 'out/empty/'"):
        backend.store(tmp_path / "out", "out/", within=tmp_path)


def test_a_failed_upload_is_tried_again_from_its_beginning(opened: Opened, tmp_path: Path) -> None:
    store, backend = opened()
    (tmp_path / "file").write_bytes(DATA)
    failures = [StorageTransientError("cut off")] * 2

    def fault(request: str, _: str) -> None:
        if request == "block" and failures and watch.bytes > 5000:
            raise failures.pop()

    store.fault = fault
    watch = Watch()
    moved = backend.store(tmp_path / "file", "x", within=tmp_path, watch=watch)
    assert store.objects == {"x": DATA}
    assert store.requests == ["write x"] * 3
    assert watch.bytes == moved.bytes == len(DATA)


def test_a_tree_cannot_be_asked_for_as_a_file(opened: Opened, tmp_path: Path) -> None:
    store, backend = opened({"tree/file": DATA})
    with pytest.raises(StorageNotFoundError, match="write 'tree/' for a tree"):
        backend.fetch("tree", tmp_path / "x")
    with pytest.raises(StorageNotFoundError, match=r"tree 'tree/file/'.*holds nothing"):
        backend.fetch("tree/file/", tmp_path / "x")
    store.objects["alone/"] = b""
    with pytest.raises(StorageNotFoundError, match="holds nothing"):
        backend.fetch("alone/", tmp_path / "x")
    assert names(tmp_path) == []


def test_many_files_and_trees_are_moved_at_once(opened: Opened, tmp_path: Path) -> None:
    _, backend = opened({"a": b"1", "b": b"22", "tree/c": b"333"})
    wanted = {name: tmp_path / name for name in ("a", "b", "tree/")}
    moved = backend.fetch_all(wanted)
    assert {name: transfer.bytes for name, transfer in moved.items()} == {
        "a": 1,
        "b": 2,
        "tree/": 3,
    }
    assert files_below(tmp_path) == {"a": b"1", "b": b"22", "tree/c": b"333"}
