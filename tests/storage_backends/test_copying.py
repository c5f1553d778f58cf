"""Copying files and trees between directories."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from contextlib import closing
from pathlib import Path

import pytest

from storage_backends.directories.boundary import open_inside
from storage_backends.directories.copying import copy_file
from storage_backends.directories.scanning import walk
from storage_backends.directories.trees import TreeCopier
from storage_backends.errors import StorageCorruptError, StorageDeniedError
from storage_backends.pool import TransferPool
from storage_backends.watch import Watch
from tests.storage_backends.conformance.files import contents, put
from tests.storage_backends.stores import other_file_system


def test_walk_names_all_that_a_tree_holds_parents_first(tmp_path: Path) -> None:
    for name in ("b/c", "b.txt", "a", "d/e/f"):
        put(tmp_path, f"tree/{name}")
    (tmp_path / "tree/link").symlink_to("b")
    found = dict(walk(tmp_path / "tree", tmp_path))
    assert list(found) == ["a", "b/", "b/c", "b.txt", "d/", "d/e/", "d/e/f", "link/", "link/c"]
    for name, path in found.items():
        if not name.endswith("/"):
            os.close(open_inside(path, tmp_path))


def test_walk_closes_what_it_opened_though_it_is_left_early(tmp_path: Path) -> None:
    put(tmp_path, "tree/a/b/c/d")
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - its own descriptor counts both times
    parts = walk(tmp_path / "tree", tmp_path)
    with closing(parts):  # type: ignore[type-var]
        for _ in range(3):
            next(parts)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - see above


def test_a_path_with_dots_is_taken_for_where_it_leads(tmp_path: Path) -> None:
    job = tmp_path / "job"
    put(tmp_path, "secret")
    put(job, "sub/file")
    os.close(open_inside(job / "sub/../sub/file", job))
    with pytest.raises(StorageDeniedError):
        open_inside(job / "sub/../../secret", job)


class Meddling(Watch):
    """Does something else once, while bytes move."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path: Path | None = path

    def moved(self, count: int) -> None:
        path, self._path = self._path, None
        if path is not None:
            with path.open("ab") as file:
                file.write(b"more")
        super().moved(count)


def test_a_file_that_changes_while_it_is_copied_is_no_copy(tmp_path: Path) -> None:
    source = put(tmp_path, "source", bytes(300_000))
    with pytest.raises(StorageCorruptError, match="it changed"):
        copy_file(source, tmp_path / "target", within=tmp_path, watch=Meddling(source))
    assert set(contents(tmp_path)) == {"source"}


def test_a_file_that_could_not_be_kept_replaces_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on NFS, which tells at the close that there was no room for what was written."""
    source, target = put(tmp_path, "source", b"new"), put(tmp_path, "target", b"old")
    close = os.close

    def full(descriptor: int) -> None:
        writes = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_WRONLY
        close(descriptor)
        if writes:
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(os, "close", full)
    with pytest.raises(OSError, match="quota"):
        copy_file(source, target, within=tmp_path)
    assert contents(tmp_path) == {"source": b"new", "target": b"old"}


@pytest.mark.parametrize("patience", [0.0, 60.0], ids=["slow", "quick"])
def test_a_tree_is_the_same_on_slow_and_on_quick_file_systems(
    tmp_path: Path, patience: float
) -> None:
    for number in range(60):
        put(tmp_path, f"out/{number % 7}/{number}", str(number).encode() * number)
    (tmp_path / "out/link").symlink_to("3")
    pool, threads = TransferPool(4), set[str]()

    class Noting(Watch):
        def moved(self, count: int) -> None:
            threads.add(threading.current_thread().name)
            super().moved(count)

        def part(self) -> Watch:
            return self

    watch = Noting()
    copier = TreeCopier(pool, patience)
    target = tmp_path / "in"
    with closing(pool):
        copied = copier.copy(tmp_path / "out", target, within=tmp_path, inside=None, watch=watch)
    assert contents(target) == {
        name: data for name, data in contents(tmp_path / "out").items() if name != "link"
    } | {"link": None} | {
        f"link/{name}": data for name, data in contents(tmp_path / "out/3").items()
    }
    assert copied == watch.bytes
    assert (len(threads) > 1) is (patience == 0.0)


def test_a_tree_is_moved_into_one_that_holds_another_file_system(tmp_path: Path) -> None:
    for name in ("sub/a", "sub/deep/c", "b"):
        put(tmp_path, f"out/{name}", b"new")
    (tmp_path / "in").mkdir()
    with closing(TransferPool(1)) as pool, other_file_system(tmp_path / "in/sub") as mounted:
        put(mounted, "a", b"old")
        TreeCopier(pool).copy(
            tmp_path / "out", tmp_path / "in", within=tmp_path, inside=None, watch=Watch()
        )
        assert contents(tmp_path / "in") == contents(tmp_path / "out")
