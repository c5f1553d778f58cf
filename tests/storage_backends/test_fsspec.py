"""The backend for URLs: its options, missing packages, and stores other than S3 and HTTP."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from messaging.errors import UsageError
from storage_backends import open_backend
from storage_backends.errors import StorageChangedError
from storage_backends.protocols.errors import one_line, shown_url
from storage_backends.protocols.file_systems import FileSystemStore
from storage_backends.watch import Watch

_BLOCKED = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {names!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocked())
from messaging.errors import UsageError
from storage_backends import open_backend
try:
    open_backend("fsspec", {{"url": {url!r}}})
except UsageError as exc:
    print(exc)
"""


def _said_without(names: set[str], url: str) -> str:
    """What opening `url` says where the packages `names` are not installed."""
    program = _BLOCKED.format(names=names, url=url)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("names", "url", "extra"),
    [
        ({"s3fs"}, "s3://bucket", "portfire[s3]"),
        ({"fsspec", "s3fs"}, "s3://bucket", "portfire[s3]"),
        ({"aiobotocore"}, "s3://bucket", "portfire[s3]"),
        ({"aiohttp"}, "https://host/x", "portfire[http]"),
        ({"fsspec"}, "memory://x", "portfire[fsspec]"),
    ],
)
def test_a_missing_package_names_the_extra(names: set[str], url: str, extra: str) -> None:
    said = _said_without(names, url)
    assert f"pip install '{extra}'" in said
    assert said.count("\n") == 1


def test_a_missing_package_without_an_extra_is_named_by_fsspec() -> None:
    assert "paramiko" in _said_without({"paramiko"}, "sftp://host/x")


def test_an_unknown_protocol_says_which_there_are() -> None:
    with pytest.raises(UsageError, match=r"no nonsense://.*s3, https"):
        open_backend("fsspec", {"url": "nonsense://x"})


@pytest.mark.parametrize(
    "url", [None, "", 3, "bucket", "/a/b", "s3:bucket", "zip::s3://b", "S 3://x"]
)
def test_what_is_no_url_is_a_usage_error(url: object) -> None:
    with pytest.raises(UsageError, match="s3://bucket"):
        open_backend("fsspec", {"url": url})


@pytest.mark.parametrize(
    "options",
    [
        {"url": "s3://"},
        {"url": "s3://bucket/prefix"},
        {"url": "s3://bucket", "key": "only"},
        {"url": "s3://bucket", "region": 7},
        {"url": "s3://bucket", "fsspec": "anon"},
        {"url": "s3://bucket", "fsspec": {"max_concurrency": 0}},
        {"url": "file:///no/such/directory"},
        {"url": "memory://x", "retry_seconds": "soon"},
    ],
)
def test_wrong_options_are_usage_errors(options: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        open_backend("fsspec", options)


def test_the_store_in_memory_is_shared_by_all_of_a_process(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"1")
    url = f"memory://{uuid.uuid4().hex}"
    with open_backend("fsspec", {"url": url}) as one, open_backend("fsspec", {"url": url}) as other:
        one.store(tmp_path / "x", "x", within=tmp_path)
        assert [entry.name for entry in other.entries("")] == ["x"]
        other.remove("x")
        assert one.entries("") == []


def test_file_urls_are_directories(tmp_path: Path) -> None:
    (tmp_path / "root" / "sub").mkdir(parents=True)
    (tmp_path / "root" / "sub" / "program").write_bytes(b"1")
    (tmp_path / "root" / "sub" / "program").chmod(0o755)
    (tmp_path / "root" / "out").symlink_to("/etc")
    with open_backend("fsspec", {"url": f"file://{tmp_path}/root/"}) as backend:
        assert backend.shared_directory is None  # staged, as every other URL
        backend.fetch("sub/program", tmp_path / "copy")
        with pytest.raises(Exception, match="outside"):
            backend.fetch("out/hostname", tmp_path / "leaked")
    assert (tmp_path / "copy").stat().st_mode & 0o111


def test_no_secret_of_a_url_is_shown() -> None:
    url = "https://user:pass@host/x?Signature=secret&y=1"
    assert shown_url(url) == "https://host/x"
    assert one_line(f"cannot reach\n {url!r} now") == "cannot reach 'https://host/x?...' now"


class Replacing:
    """A sink that has the file replaced as soon as something of it has come."""

    def __init__(self, path: Path, data: bytes) -> None:
        self._path = path
        self._data = data

    def write(self, block: bytes | memoryview, /) -> int:
        self._path.write_bytes(self._data)
        return len(block)


def test_a_file_has_no_version_while_another_could_have_its_time(tmp_path: Path) -> None:
    store = FileSystemStore(f"file://{tmp_path}", {})
    (tmp_path / "x").write_bytes(b"content")
    assert store.stat("x").version is None
    old = time.time() - 60
    os.utime(tmp_path / "x", (old, old))
    assert store.stat("x").version is not None


@pytest.mark.parametrize("age", [0.0, 60.0], ids=["new", "old"])
@pytest.mark.parametrize("size", [100, 3_000_000], ids=["shorter", "longer"])
def test_a_file_that_is_replaced_while_it_is_read_is_said_to_have_changed(
    tmp_path: Path, age: float, size: int
) -> None:
    (tmp_path / "x").write_bytes(bytes(2_000_000))
    then = time.time() - age
    os.utime(tmp_path / "x", (then, then))
    store = FileSystemStore(f"file://{tmp_path}", {})
    found = store.stat("x")
    with pytest.raises(StorageChangedError):
        store.read(found, 0, found.size, Replacing(tmp_path / "x", bytes(size)), Watch())
