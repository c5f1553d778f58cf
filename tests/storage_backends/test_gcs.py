"""What only Cloud Storage has: options, placeholders, connections, large files in flat memory."""

from __future__ import annotations

import filecmp
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from messaging.errors import UsageError
from storage_backends import open_backend
from storage_backends.contract import Upload
from storage_backends.pool import TransferPool
from tests.services.gcs_emulator import new_bucket
from tests.storage_backends.gcs_proxy import first, proxied


def names(emulator: str, bucket: str) -> dict[str, int]:
    """Every object that the emulator has, with its size."""
    listed = requests.get(f"{emulator}/storage/v1/b/{bucket}/o", timeout=30.0).json()
    return {item["name"]: int(item["size"]) for item in listed.get("items", [])}


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({}, "needs 'bucket'"),
        ({"bucket": ""}, "bucket ''"),
        ({"bucket": 7}, "bucket 7"),
        ({"bucket": "a/b"}, "bucket 'a/b'"),
        ({"bucket": "b", "placeholders": "no"}, "placeholders 'no'"),
        ({"bucket": "b", "endpoint": 1}, "endpoint 1"),
        ({"bucket": "b", "endpoint": "localhost:1"}, "endpoint 'localhost:1'"),
        ({"bucket": "b", "retry_seconds": "long"}, "retry_seconds 'long'"),
    ],
)
def test_wrong_options_are_a_usage_error(options: dict[str, object], wrong: str) -> None:
    with pytest.raises(UsageError, match=wrong):
        open_backend("gcs", options)


@pytest.mark.parametrize("scheme", ["http://", ""])
def test_the_emulators_usual_variable_is_heeded(
    gcs_emulator: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", scheme + gcs_emulator.removeprefix("http://"))
    (tmp_path / "x").write_bytes(b"content")
    with open_backend("gcs", {"bucket": new_bucket(gcs_emulator)}) as backend:
        backend.store(tmp_path / "x", "x", within=tmp_path)
        backend.fetch("x", tmp_path / "y")
    assert (tmp_path / "y").read_bytes() == b"content"


def test_placeholders_are_made_for_every_directory_once_and_before_the_files(
    gcs_emulator: str, tmp_path: Path
) -> None:
    bucket = new_bucket(gcs_emulator)
    (tmp_path / "out/sub").mkdir(parents=True)
    (tmp_path / "out/sub/file").write_bytes(b"content")
    with (
        proxied(gcs_emulator) as proxy,
        open_backend("gcs", {"bucket": bucket, "endpoint": proxy.url}) as backend,
    ):
        proxy.before = lambda _: existing.append(names(gcs_emulator, bucket))
        existing: list[dict[str, int]] = []
        backend.store(tmp_path / "out", "people/x/out/", within=tmp_path)
        placeholders = {"people/", "people/x/", "people/x/out/", "people/x/out/sub/"}
        assert names(gcs_emulator, bucket) == {
            **dict.fromkeys(placeholders, 0),
            "people/x/out/sub/file": 7,
        }
        assert set(existing[-1]) == placeholders  # when the file's own request came
        made = [request for request in proxy.seen if "POST" in request]
        assert len(made) == 5
        assert all("ifGenerationMatch=0" in request for request in made)
        backend.store(tmp_path / "out/sub/file", "people/x/out/sub/two", within=tmp_path)
        assert proxy.count("POST") == 6
        assert backend.fetch("people/", tmp_path / "back").bytes == 14
    assert (tmp_path / "back/x/out/sub/two").read_bytes() == b"content"


def test_a_placeholder_that_exists_is_left_as_it_is(gcs_emulator: str, tmp_path: Path) -> None:
    bucket = new_bucket(gcs_emulator)
    (tmp_path / "x").write_bytes(b"content")
    with proxied(gcs_emulator) as proxy:
        for _ in range(2):
            options = {"bucket": bucket, "endpoint": proxy.url}
            with open_backend("gcs", options) as backend:
                backend.store(tmp_path / "x", "a/x", within=tmp_path)
        assert names(gcs_emulator, bucket) == {"a/": 0, "a/x": 7}
        assert proxy.count("POST") == 2 + 2  # the second time, both are there already


def test_who_may_write_only_below_a_prefix_stores_there(
    gcs_emulator: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bucket = new_bucket(gcs_emulator)
    (tmp_path / "x").write_bytes(b"content")
    with (
        proxied(gcs_emulator) as proxy,
        open_backend("gcs", {"bucket": bucket, "endpoint": proxy.url}) as backend,
    ):
        proxy.choose = first(1, 403, "POST")
        backend.store(tmp_path / "x", "mine/x", within=tmp_path)
    assert names(gcs_emulator, bucket) == {"mine/x": 7}
    assert "no directory placeholder" in caplog.text


def test_placeholders_can_be_turned_off(gcs_emulator: str, tmp_path: Path) -> None:
    bucket = new_bucket(gcs_emulator)
    (tmp_path / "x").write_bytes(b"content")
    options = {"bucket": bucket, "endpoint": gcs_emulator, "placeholders": False}
    with open_backend("gcs", options) as backend:
        backend.store(tmp_path / "x", "a/b/x", within=tmp_path)
    assert names(gcs_emulator, bucket) == {"a/b/x": 7}


def test_connections_are_kept_and_no_more_than_the_threads_need(
    gcs_emulator: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "urllib3")
    bucket, pool = new_bucket(gcs_emulator), TransferPool(12)
    (tmp_path / "tree").mkdir()
    for number in range(100):
        (tmp_path / "tree" / str(number)).write_bytes(b"x" * number)
    with (
        proxied(gcs_emulator) as proxy,
        open_backend("gcs", {"bucket": bucket, "endpoint": proxy.url}, pool) as backend,
    ):
        for name in ("one/", "two/"):
            backend.store(tmp_path / "tree", name, within=tmp_path)
            backend.fetch(name, tmp_path / name)
        uploads = [Upload(tmp_path / "tree" / "9", f"all/{n}", tmp_path) for n in range(50)]
        backend.store_all(uploads)
        # The caller works too, and the client library asks something in the background.
        assert len(proxy.connections) <= 12 + 2
    assert "pool is full" not in caplog.text


_THERE_AND_BACK = r"""
import pathlib, re, sys
from storage_backends import open_backend
from storage_backends.pool import TransferPool

def peak():
    # Not getrusage: its peak is also that of the process that started this one.
    return int(re.search(r"VmHWM:\s+(\d+)", pathlib.Path("/proc/self/status").read_text())[1])

directory, options = pathlib.Path(sys.argv[1]), {"bucket": sys.argv[2], "endpoint": sys.argv[3]}
with open_backend("gcs", options, TransferPool(4)) as backend:
    backend.store(directory / "small", "small", within=directory)
    backend.fetch("small", directory / "small.back")
    before = peak()
    backend.store(directory / "large", "large", within=directory)
    backend.fetch("large", directory / "large.back")
    print(peak() - before)
"""


def test_memory_does_not_grow_with_the_file(gcs_emulator: str, tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(b"small")
    with (tmp_path / "large").open("wb") as large:
        for _ in range(300):
            large.write(os.urandom(1 << 20))
    arguments = [str(tmp_path), new_bucket(gcs_emulator), gcs_emulator]
    # In a process of its own, whose peak was not set by other tests.
    ran = subprocess.run(
        [sys.executable, "-c", _THERE_AND_BACK, *arguments], capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) < 60_000, f"{ran.stdout} KiB more for a file of 300 MiB"
    assert filecmp.cmp(tmp_path / "large", tmp_path / "large.back", shallow=False)
