"""What is special about backends that are a directory: local and nfs."""

from __future__ import annotations

import errno
import os
import stat
import threading
from contextlib import closing
from pathlib import Path

import pytest

from messaging.errors import UsageError
from storage_backends import StorageBackend, backend_names, open_backend
from storage_backends.directories.copying import Copied, copy_file
from storage_backends.directories.nfs import NfsBackend
from storage_backends.errors import (
    StorageDeniedError,
    StorageError,
    StorageNotFoundError,
    StorageTransientError,
)
from storage_backends.pool import TransferPool
from storage_backends.registry import backend_name, storage_names
from storage_backends.retrying import Retry
from storage_backends.watch import Watch
from tests.storage_backends.conformance.files import contents, listed, put
from tests.storage_backends.stores import other_file_system


@pytest.mark.parametrize("name", ["gluster", "s4", "", "Local"])
def test_an_unknown_backend_is_named_with_those_that_exist(name: str) -> None:
    with pytest.raises(UsageError, match=", ".join(storage_names())) as caught:
        open_backend(name, {})
    assert repr(name) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_sshfs_is_another_word_for_nfs() -> None:
    assert backend_name("sshfs") == "nfs"
    assert "sshfs" not in backend_names()


@pytest.mark.parametrize("workdir", [None, 5, "", "relative/path"])
def test_a_workdir_that_is_no_absolute_path_is_refused(workdir: object) -> None:
    with pytest.raises(UsageError, match="expected the absolute path"):
        open_backend("nfs", {"workdir": workdir})


def test_a_workdir_that_is_not_mounted_is_refused_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="mount it"):
        open_backend("nfs", {"workdir": str(tmp_path / "mnt")})
    assert not (tmp_path / "mnt").exists()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    directory = tmp_path / "store"
    directory.mkdir()
    return directory


@pytest.fixture
def backend(store: Path) -> StorageBackend:
    return open_backend("nfs", {"workdir": str(store)})


@pytest.fixture
def job(tmp_path: Path) -> Path:
    directory = tmp_path / "job"
    directory.mkdir()
    return directory


def test_only_local_is_worked_in_directly(tmp_path: Path) -> None:
    options = {"workdir": str(tmp_path)}
    assert open_backend("local", options).shared_directory == tmp_path
    assert open_backend("nfs", options).shared_directory is None


@pytest.mark.parametrize("name", ["link", "directory/hosts", "tree/"])
def test_a_symlink_that_leads_out_of_the_workdir_is_not_fetched(tmp_path: Path, name: str) -> None:
    store = tmp_path / "store"
    (store / "tree").mkdir(parents=True)
    (store / "link").symlink_to("/etc/hosts")
    (store / "directory").symlink_to("/etc")
    (store / "tree/link").symlink_to("/etc/hosts")
    backend = open_backend("nfs", {"workdir": str(store)})
    with pytest.raises(StorageDeniedError):
        backend.fetch(name, tmp_path / "in")
    assert not [path for path in (tmp_path / "in").rglob("*") if path.is_file()]


def test_a_symlink_in_the_store_does_not_take_outputs_elsewhere(tmp_path: Path) -> None:
    store, job, elsewhere = (tmp_path / name for name in ("store", "job", "elsewhere"))
    for directory in (store / "out", job / "out/sub", elsewhere):
        directory.mkdir(parents=True)
    (store / "out/sub").symlink_to(elsewhere)
    (job / "out/sub/file").write_text("x")
    backend = open_backend("nfs", {"workdir": str(store)})
    with pytest.raises(StorageDeniedError):
        backend.store(job / "out", "out/", within=job)
    assert list(elsewhere.iterdir()) == []


def test_a_symlink_in_the_store_is_fetched_as_what_it_leads_to(
    backend: StorageBackend, store: Path, job: Path
) -> None:
    put(store, "real/file", b"1")
    (store / "tree").mkdir()
    (store / "tree/file").symlink_to("../real/file")
    (store / "tree/directory").symlink_to("../real")
    backend.fetch("tree/", job / "in")
    assert contents(job / "in") == {"file": b"1", "directory": None, "directory/file": b"1"}
    assert not any(path.is_symlink() for path in (job / "in").rglob("*"))


def test_removing_a_symlink_leaves_what_it_leads_to(backend: StorageBackend, store: Path) -> None:
    put(store, "real/file", b"1")
    (store / "directory").symlink_to("real")
    (store / "file").symlink_to("real/file")
    backend.remove("directory/")
    backend.remove("file")
    assert contents(store) == {"real": None, "real/file": b"1"}


def test_nothing_outside_the_workdir_is_removed(
    backend: StorageBackend, store: Path, tmp_path: Path
) -> None:
    put(tmp_path, "elsewhere/file", b"1")
    (store / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("link/file", "link/sub/"):
        with pytest.raises(StorageDeniedError):
            backend.remove(name)
    assert contents(tmp_path / "elsewhere") == {"file": b"1"}


def test_a_directory_that_holds_nothing_is_no_tree(
    backend: StorageBackend, store: Path, job: Path
) -> None:
    (store / "tree").mkdir()
    with pytest.raises(StorageNotFoundError, match=r"tree 'tree/'.* holds nothing"):
        backend.fetch("tree/", job / "in")
    assert backend.entries("tree/") == []


def test_what_a_killed_transfer_left_is_no_part_of_a_tree(
    backend: StorageBackend, store: Path, job: Path
) -> None:
    put(store, "tree/file", b"1")
    put(store, f"tree/.{'0f' * 16}.part", b"half of a file")
    put(store, f"tree/.{'1f' * 16}.part/file", b"part of a tree")
    put(store, "tree/.part", b"a user's")
    assert listed(backend, "tree/") == [("tree/.part", 8), ("tree/file", 1)]
    backend.fetch("tree/", job / "in")
    assert contents(job / "in") == {"file": b"1", ".part": b"a user's"}


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755, 0o777, 0o444])
def test_permissions_and_times_are_kept(
    backend: StorageBackend, store: Path, job: Path, mode: int
) -> None:
    source = put(job, "out/file")
    source.chmod(mode)
    os.utime(source, ns=(1, 1_234_567_890_123_456_789))
    backend.store(job / "out", "tree/", within=job)
    backend.fetch("tree/", job / "in")
    backend.fetch("tree/file", job / "file")
    for path in (store / "tree/file", job / "in/file", job / "file"):
        facts = path.stat()
        assert (stat.S_IMODE(facts.st_mode), facts.st_mtime_ns) == (mode, 1_234_567_890_123_456_789)


def test_a_program_that_would_change_its_user_no_longer_does(
    backend: StorageBackend, store: Path, job: Path
) -> None:
    put(job, "program").chmod(0o6755)
    backend.store(job / "program", "program", within=job)
    assert stat.S_IMODE((store / "program").stat().st_mode) == 0o755


def test_a_file_where_a_directory_is_wanted_is_refused(
    backend: StorageBackend, store: Path, job: Path
) -> None:
    put(store, "file", b"1")
    put(store, "tree/sub/x", b"1")
    put(job, "out/sub", b"2")
    for source, name in (("out/sub", "file/below"), ("out", "file/"), ("out", "tree/")):
        with pytest.raises(StorageError) as caught:
            backend.store(job / source, name, within=job)
        assert isinstance(caught.value, StorageDeniedError | StorageNotFoundError)
    assert contents(store) == {
        "file": b"1",
        "tree": None,
        "tree/sub": None,
        "tree/sub/x": b"1",
    }


def test_a_tree_too_deep_to_walk_is_refused(backend: StorageBackend, job: Path) -> None:
    deep = job / "out"
    for _ in range(200):
        deep = deep / "d"
    deep.mkdir(parents=True)
    with pytest.raises(StorageDeniedError, match="directories deep"):
        backend.store(job / "out", "tree/", within=job)


def test_a_directory_that_becomes_a_symlink_meanwhile_gives_nothing_away(
    backend: StorageBackend, store: Path, job: Path, tmp_path: Path
) -> None:
    put(tmp_path, "outside/file", b"secret")
    put(job, "out/sub/file", b"mine")
    done = threading.Event()

    def swap() -> None:
        link, kept = job / "out/link", job / "kept"
        link.symlink_to(tmp_path / "outside")
        link.rename(job / "link")
        while not done.is_set():
            (job / "out/sub").rename(kept)
            (job / "link").rename(job / "out/sub")
            (job / "out/sub").rename(job / "link")
            kept.rename(job / "out/sub")

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        for number in range(150):
            for source, name in (("out", f"{number}/"), ("out/sub/file", f"file{number}")):
                try:
                    backend.store(job / source, name, within=job)
                except StorageError:
                    continue
    finally:
        done.set()
        swapper.join()
    assert b"secret" not in contents(store).values()
    assert b"mine" in contents(store).values()


def test_a_server_that_is_away_for_a_moment_is_tried_again(
    store: Path, job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def copy(source: Path, target: Path, *, within: Path, watch: Watch) -> Copied:
        tried.append(source)
        if len(tried) < 3:
            watch.moved(5)
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(source))
        return copy_file(source, target, within=within, watch=watch)

    monkeypatch.setattr("storage_backends.directories.backend.copy_file", copy)
    put(store, "x", b"1")
    watch = Watch()
    with closing(TransferPool(1)) as pool:
        backend = NfsBackend(store, pool, Retry(first=0.01))
        assert backend.fetch("x", job / "x", watch=watch).bytes == watch.bytes == 1
    assert len(tried) == 3


@pytest.mark.timeout(60)
def test_a_full_file_system_is_told_at_once_and_holds_nothing_more(
    tmp_path: Path, job: Path
) -> None:
    with other_file_system(tmp_path / "small") as small:
        backend = open_backend("nfs", {"workdir": str(small)})
        with put(job, "out/large").open("r+b") as file:
            file.truncate(80 << 20)
        for source, name in (("out/large", "large"), ("out", "tree/")):
            with pytest.raises(StorageTransientError, match="No space left"):
                backend.store(job / source, name, within=job)
            assert contents(small) == {}
