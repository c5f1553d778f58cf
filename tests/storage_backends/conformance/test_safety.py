"""Nothing that a task made or named reaches outside its directory.

A hard link to a file outside is stored like any regular file: it cannot be told from one, and the
kernel lets a task make one only to what it could have copied anyway.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from storage_backends import StorageBackend
from storage_backends.errors import StorageDeniedError, StorageError, StorageNotFoundError
from tests.services import missing
from tests.storage_backends.conformance import behaviours
from tests.storage_backends.conformance.files import contents, put
from tests.storage_backends.kinds.kind import StoreKind

pytestmark = pytest.mark.needs(behaviours.WRITES)

Refused = Callable[[str, str], None]


_LEADING_OUT = pytest.mark.parametrize(
    "name", ["../x", "a/../../x", "/etc/passwd", "..", "a//b", "./a", "a\0b", "a\nb", "\udcff"]
)


@pytest.fixture
def refused(kind: StoreKind, backend: StorageBackend, job: Path) -> Refused:
    """Sees that what is below ``out`` in the job is stored neither by itself nor as a tree's part.

    It is given the name below ``out``, and words of the refusal.
    """

    def check(name: str, why: str) -> None:
        with pytest.raises(StorageDeniedError, match=why):
            backend.store(job / "out" / name, "leaked", within=job)
        with pytest.raises(StorageNotFoundError):
            backend.fetch("leaked", job / "back")
        with pytest.raises(StorageDeniedError, match=why):
            backend.store(job / "out", "tree/", within=job)
        if behaviours.TREES not in kind.lacks:
            assert not [entry for entry in backend.entries("") if entry.name.endswith(name)]

    return check


@_LEADING_OUT
def test_no_name_leads_out_of_the_store(backend: StorageBackend, job: Path, name: str) -> None:
    put(job, "made")
    with pytest.raises(StorageDeniedError):
        backend.fetch(name, job / "x")
    with pytest.raises(StorageDeniedError):
        backend.store(job / "made", name, within=job)
    assert contents(job) == {"made": b"some bytes"}


@pytest.mark.needs(behaviours.TREES, behaviours.REMOVES)
@_LEADING_OUT
def test_no_name_lists_or_removes_what_is_outside(backend: StorageBackend, name: str) -> None:
    with pytest.raises(StorageDeniedError):
        backend.remove(name)
    with pytest.raises(StorageDeniedError):
        backend.entries(name)
    assert backend.entries("") == []


@pytest.mark.parametrize("leads", ["/etc/shadow", "../../outside", "/etc", "../..", "nowhere"])
def test_a_symlink_that_leads_out_of_the_job_is_refused(
    refused: Refused, job: Path, leads: str
) -> None:
    (job.parent / "outside").mkdir()
    put(job, "out/good")
    (job / "out/link").symlink_to(leads)
    refused("link", "symbolic link")


def test_a_file_behind_a_symlinked_directory_outside_is_refused(
    refused: Refused, job: Path
) -> None:
    put(job.parent, "outside/secret")
    (job / "out").mkdir()
    (job / "out/directory").symlink_to("../../outside")
    refused("directory/secret", "symbolic link")
    refused("directory/", "symbolic link")


def test_a_file_below_an_output_that_is_a_symlink_is_refused(refused: Refused, job: Path) -> None:
    put(job.parent, "outside/secret")
    (job / "out").symlink_to("../outside")
    refused("secret", "symbolic link")


_EITHER_WAY = pytest.mark.parametrize("absolute", [False, True], ids=["relative", "absolute"])


@_EITHER_WAY
def test_a_symlink_inside_the_job_is_stored_as_the_file_it_leads_to(
    backend: StorageBackend, job: Path, absolute: bool
) -> None:
    put(job, "real/file", b"content")
    (job / "file").symlink_to(job / "real/file" if absolute else "real/file")
    (job / "directory").symlink_to(job / "real" if absolute else "real")
    for name in ("file", "directory/file"):
        backend.store(job / name, "x", within=job)
        backend.fetch("x", job / "back")
        assert contents(job)["back"] == b"content"
        assert not (job / "back").is_symlink()


@pytest.mark.needs(behaviours.TREES)
@_EITHER_WAY
def test_symlinks_inside_the_job_are_stored_as_the_tree_they_make(
    backend: StorageBackend, job: Path, absolute: bool
) -> None:
    put(job, "real/file", b"content")
    (job / "out").mkdir()
    (job / "out/file").symlink_to(job / "real/file" if absolute else "../real/file")
    (job / "out/directory").symlink_to(job / "real" if absolute else "../real")
    backend.store(job / "out", "out/", within=job)
    backend.fetch("out/", job / "in")
    assert contents(job / "in") == {
        "file": b"content",
        "directory": None,
        "directory/file": b"content",
    }
    assert not any(path.is_symlink() for path in (job / "in").rglob("*"))


def test_a_boundary_that_is_a_symlink_itself_is_taken(backend: StorageBackend, job: Path) -> None:
    put(job, "out/file")
    link = job.parent / "link"
    link.symlink_to(job)
    for boundary, source in ((link, link), (link, job), (job, link)):
        backend.store(source / "out/file", "file", within=boundary)
        backend.store(source / "out", "out/", within=boundary)


def test_a_symlink_to_itself_is_refused(refused: Refused, job: Path) -> None:
    (job / "out").mkdir()
    (job / "out/ring").symlink_to("ring")
    refused("ring", "loop")


def test_a_symlink_to_a_directory_above_is_refused(backend: StorageBackend, job: Path) -> None:
    put(job, "out/file")
    (job / "out/again").symlink_to(".")
    with pytest.raises(StorageDeniedError, match="above itself"):
        backend.store(job / "out", "out/", within=job)


@pytest.mark.timeout(30)
def test_a_fifo_is_refused_at_once(refused: Refused, job: Path) -> None:
    put(job, "out/good")
    os.mkfifo(job / "out/pipe")
    refused("pipe", "not a regular file")


def test_a_socket_is_refused(refused: Refused, job: Path) -> None:
    put(job, "out/good")
    with socket.socket(socket.AF_UNIX) as listener:
        # A socket's path may have 108 bytes at most.
        here = os.open(job / "out", os.O_RDONLY | os.O_DIRECTORY)
        listener.bind(f"/proc/self/fd/{here}/socket")
        os.close(here)
        refused("socket", "not a regular file")


@pytest.mark.timeout(30)
@pytest.mark.parametrize(("major", "minor"), [(1, 5), (1, 9), (7, 77)], ids=["zero", "random", "?"])
def test_a_device_is_refused(refused: Refused, job: Path, major: int, minor: int) -> None:
    if os.geteuid() != 0:
        missing("only root can make a device file: run the tests as root")
    put(job, "out/good")
    os.mknod(job / "out/device", 0o666 | stat.S_IFCHR, os.makedev(major, minor))
    refused("device", "not a regular file")


def test_a_symlink_to_a_device_is_refused(refused: Refused, job: Path) -> None:
    put(job, "out/good")
    (job / "out/zero").symlink_to("/dev/zero")
    refused("zero", "symbolic link")


def test_a_hard_link_is_stored_as_the_file_that_it_is(backend: StorageBackend, job: Path) -> None:
    outside = put(job.parent, "outside", b"readable anyway")
    (job / "link").hardlink_to(outside)
    backend.store(job / "link", "x", within=job)
    backend.fetch("x", job / "x")
    assert (job / "x").read_bytes() == b"readable anyway"
    (job / "x").write_bytes(b"altered by the next job")
    assert outside.read_bytes() == b"readable anyway"


def test_an_odd_name_that_the_task_made_is_refused_in_words(
    backend: StorageBackend, job: Path
) -> None:
    put(job, "out/good")
    (job / "out" / os.fsdecode(b"\xff\n")).write_bytes(b"1")
    with pytest.raises(StorageError) as caught:
        backend.store(job / "out", "out/", within=job)
    str(caught.value).encode()
    assert "\n" not in str(caught.value)
