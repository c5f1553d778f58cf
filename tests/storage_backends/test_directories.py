"""What is special about backends that are a directory: local and nfs."""

from __future__ import annotations

from pathlib import Path

import pytest

from messaging.errors import UsageError
from storage_backends import backend_names, open_backend
from storage_backends.errors import StorageDeniedError
from storage_backends.registry import backend_name


@pytest.mark.parametrize("name", ["gcs", "s3", "cloud", "gs", "", "Local"])
def test_an_unknown_backend_is_named_with_those_that_exist(name: str) -> None:
    with pytest.raises(UsageError, match=r"has local, nfs") as caught:
        open_backend(name, {})
    assert repr(name) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_sshfs_is_another_word_for_nfs() -> None:
    assert backend_name("sshfs") == "nfs"
    assert backend_names() == ["local", "nfs"]


@pytest.mark.parametrize("workdir", [None, 5, "", "relative/path"])
def test_a_workdir_that_is_no_absolute_path_is_refused(workdir: object) -> None:
    with pytest.raises(UsageError, match="expected the absolute path"):
        open_backend("nfs", {"workdir": workdir})


def test_a_workdir_that_is_not_mounted_is_refused_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="mount it"):
        open_backend("nfs", {"workdir": str(tmp_path / "mnt")})
    assert not (tmp_path / "mnt").exists()


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
