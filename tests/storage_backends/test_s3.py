"""S3, by moto's server: credentials, buckets, checksums, versions, parts."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from messaging.errors import ServiceError
from storage_backends import StorageBackend, open_backend
from storage_backends.errors import (
    StorageChangedError,
    StorageCorruptError,
    StorageDeniedError,
    StorageNotFoundError,
)
from storage_backends.pool import TransferPool
from storage_backends.s3.bucket import S3Bucket
from storage_backends.s3.store import S3Store
from storage_backends.watch import TransferStoppedError, Watch
from tests.services import s3
from tests.services.mongodb import free_port
from tests.storage_backends.conformance.files import contents, listed, put
from tests.waiting import wait_until


@pytest.fixture
def bucket(s3_endpoint: str) -> str:
    return s3.make_bucket(s3_endpoint)


@pytest.fixture
def options(s3_endpoint: str, bucket: str) -> dict[str, Any]:
    return {"url": f"s3://{bucket}", "endpoint_url": s3_endpoint, **s3.CREDENTIALS}


@pytest.fixture
def backend(options: dict[str, Any]) -> Iterator[StorageBackend]:
    with open_backend("fsspec", options) as opened:
        yield opened


@pytest.fixture
def no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As on a machine on which nobody has set up AWS."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def test_a_bucket_that_is_not_there_is_named(options: dict[str, Any], tmp_path: Path) -> None:
    put(tmp_path, "x")
    with open_backend("fsspec", {**options, "url": "s3://no-such-bucket"}) as backend:
        with pytest.raises(StorageNotFoundError, match="no bucket 'no-such-bucket'"):
            backend.fetch("x", tmp_path / "in")
        with pytest.raises(StorageNotFoundError, match="no bucket 'no-such-bucket'"):
            backend.store(tmp_path / "x", "x", within=tmp_path)
        with pytest.raises(StorageNotFoundError, match="no bucket 'no-such-bucket'"):
            backend.entries("")


@pytest.mark.parametrize("name", ["with space", "ü", "a'b"])
def test_a_name_that_no_bucket_has_is_refused_in_one_line(
    options: dict[str, Any], tmp_path: Path, name: str
) -> None:
    with (
        open_backend("fsspec", {**options, "url": f"s3://{name}"}) as backend,
        pytest.raises(StorageDeniedError, match="bucket name") as caught,
    ):
        backend.fetch("x", tmp_path / "in")
    assert "\n" not in str(caught.value)


def test_a_bucket_with_dots_and_dashes_works(s3_endpoint: str, tmp_path: Path) -> None:
    name = s3.make_bucket(s3_endpoint, "my.bucket-1--")
    options = {"url": f"s3://{name}/", "endpoint_url": s3_endpoint, **s3.CREDENTIALS}
    with open_backend("fsspec", options) as backend:
        backend.store(put(tmp_path, "x"), "x", within=tmp_path)
        assert listed(backend, "") == [("x", len(b"some bytes"))]


@pytest.mark.usefixtures("no_credentials")
def test_without_credentials_it_says_which_to_set(
    s3_endpoint: str, bucket: str, tmp_path: Path
) -> None:
    with (
        open_backend("fsspec", {"url": f"s3://{bucket}", "endpoint_url": s3_endpoint}) as backend,
        pytest.raises(StorageDeniedError, match="set AWS_ACCESS_KEY_ID"),
    ):
        backend.fetch("x", tmp_path / "in")


@pytest.mark.usefixtures("no_credentials")
def test_the_environment_is_enough(
    s3_endpoint: str, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
    with open_backend("fsspec", {"url": f"s3://{bucket}"}) as backend:
        backend.store(put(tmp_path, "x"), "x", within=tmp_path)
        assert [entry.name for entry in backend.entries("")] == ["x"]


def test_wrong_credentials_are_denied_without_telling_them(tmp_path: Path) -> None:
    with s3.start_server({"INITIAL_NO_AUTH_ACTION_COUNT": "1"}) as endpoint:
        bucket = s3.make_bucket(endpoint)
        keys = {"key": "AKIAWRONG", "secret": "not-to-be-shown"}
        options = {"url": f"s3://{bucket}", "endpoint_url": endpoint, "region": "us-east-1", **keys}
        with (
            open_backend("fsspec", options) as backend,
            pytest.raises(StorageDeniedError, match="check the access key") as caught,
        ):
            backend.fetch("x", tmp_path / "in")
    assert "not-to-be-shown" not in str(caught.value)


def test_an_endpoint_that_is_away_may_be_tried_again(
    options: dict[str, Any], tmp_path: Path
) -> None:
    away = {**options, "endpoint_url": f"http://127.0.0.1:{free_port()}", "retry_seconds": 0}
    with open_backend("fsspec", away) as backend, pytest.raises(ServiceError, match="'x'"):
        backend.fetch("x", tmp_path / "in")


def test_what_others_do_is_seen_at_once(
    backend: StorageBackend, s3_endpoint: str, bucket: str, tmp_path: Path
) -> None:
    client = s3.client(s3_endpoint)
    assert backend.entries("") == []
    for number in range(3):
        client.put_object(Bucket=bucket, Key=f"d/{number}", Body=b"1")
        client.put_object(Bucket=bucket, Key="d/x", Body=str(number).encode())
        assert len(backend.entries("d/")) == number + 2
        backend.fetch("d/x", tmp_path / "x")
        assert (tmp_path / "x").read_bytes() == str(number).encode()


def test_many_threads_share_one_backend(backend: StorageBackend, tmp_path: Path) -> None:
    def there_and_back(number: int) -> None:
        data = str(number).encode() * 50_000
        name = f"deep/{number}"
        backend.store(put(tmp_path, f"out/{number}", data), name, within=tmp_path)
        backend.fetch(name, tmp_path / "in" / str(number))
        assert (tmp_path / "in" / str(number)).read_bytes() == data

    with ThreadPoolExecutor(32) as threads:
        list(threads.map(there_and_back, range(96)))
    assert len(backend.entries("deep/")) == 96


def test_a_file_in_parts_that_is_stopped_leaves_nothing(
    backend: StorageBackend, s3_endpoint: str, bucket: str, tmp_path: Path
) -> None:
    large = tmp_path / "large"
    with large.open("wb") as sparse:
        sparse.truncate(150_000_000)
    watch = Watch()
    with ThreadPoolExecutor(1) as thread:
        storing = thread.submit(backend.store, large, "large", within=tmp_path, watch=watch)
        wait_until(lambda: watch.bytes or storing.done(), what="the first part")
        watch.stop()
        with pytest.raises(TransferStoppedError):
            storing.result(60)
    assert backend.entries("") == []
    assert "Uploads" not in s3.client(s3_endpoint).list_multipart_uploads(Bucket=bucket)


def test_a_file_that_shrinks_while_it_is_stored_leaves_nothing(
    options: dict[str, Any], s3_endpoint: str, bucket: str, tmp_path: Path
) -> None:
    pool = TransferPool(4)
    store = S3Store.open(str(options["url"]), {**options, "fsspec": {}}, pool)
    for size in (1000, 20_000_000):
        short = put(tmp_path, "short", b"x" * (size - 1))
        with short.open("rb") as source, pytest.raises(StorageCorruptError, match="changed"):
            store.write("x", source, size, Watch())
    assert list(store.list("")) == []
    assert "Uploads" not in s3.client(s3_endpoint).list_multipart_uploads(Bucket=bucket)
    pool.close()


def test_a_tree_with_some_objects_under_another_key_is_fetched(
    backend: StorageBackend, s3_endpoint: str, bucket: str, tmp_path: Path
) -> None:
    """The ETag of an object that KMS encrypts is no MD5, and no listing says which ones are."""
    client = s3.client(s3_endpoint)
    client.put_object(Bucket=bucket, Key="d/a", Body=b"plain")
    client.put_object(Bucket=bucket, Key="d/b", Body=b"kms", ServerSideEncryption="aws:kms")
    backend.fetch("d/", tmp_path / "in")
    assert contents(tmp_path / "in") == {"a": b"plain", "b": b"kms"}
    assert backend.fetch("d/a", tmp_path / "a").checksum is not None
    assert backend.fetch("d/b", tmp_path / "b").checksum is None


def test_an_etag_is_a_checksum_only_where_it_is_one(options: dict[str, Any]) -> None:
    bucket = S3Bucket("bucket", {**options, "fsspec": {}}, 10)
    md5 = "9dd4e461268c8034f5c8564e155c67a6"  # of b"x"
    assert bucket.compared({"ETag": f'"{md5}"'}, b"x") == f"md5:{md5}"
    assert bucket.compared({"ETag": f'"{md5}"', "ServerSideEncryption": "AES256"}, b"x")
    with pytest.raises(StorageCorruptError, match=md5):
        bucket.compared({"ETag": f'"{md5}"'}, b"y")
    others: list[dict[str, str]] = [
        {"ETag": f'"{md5}-2"'},
        {"ETag": f'"{md5}"', "ServerSideEncryption": "aws:kms"},
        {"ETag": f'"{md5}"', "SSECustomerAlgorithm": "AES256"},
        {},
    ]
    assert [bucket.compared(answer, b"y") for answer in others] == [None] * 4
    express = S3Bucket("bucket--use1-az4--x-s3", {**options, "fsspec": {}}, 10)
    assert express.compared({"ETag": f'"{md5}"'}, b"y") is None


def test_a_read_is_of_the_version_that_was_found(
    options: dict[str, Any], s3_endpoint: str, bucket: str, tmp_path: Path
) -> None:
    client = s3.client(s3_endpoint)
    pool = TransferPool(1)
    store = S3Store.open(str(options["url"]), {**options, "fsspec": {}}, pool)
    client.put_object(Bucket=bucket, Key="x", Body=b"first")
    found = store.stat("x")
    client.put_object(Bucket=bucket, Key="x", Body=b"other")
    with (tmp_path / "in").open("wb") as into:
        for start in (0, 2):
            with pytest.raises(StorageChangedError):
                store.read(found, start, 5, into, Watch())
        client.delete_object(Bucket=bucket, Key="x")
        with pytest.raises(StorageChangedError):
            store.read(found, 0, 5, into, Watch())
    assert (tmp_path / "in").read_bytes() == b""
    pool.close()


_THERE_AND_BACK = """
import json, resource, sys
from pathlib import Path
from storage_backends import open_backend

directory, options = Path(sys.argv[1]), json.loads(sys.argv[2])
peaks = []
with open_backend("fsspec", options) as backend:
    for size in (70_000_000, 200_000_000):
        with (directory / "made").open("wb") as sparse:
            sparse.truncate(size)
        backend.store(directory / "made", "large", within=directory)
        backend.fetch("large", directory / "back")
        assert (directory / "back").stat().st_size == size
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
print(json.dumps(peaks))
"""


def test_memory_does_not_grow_with_the_file(options: dict[str, Any], tmp_path: Path) -> None:
    import json

    program = [sys.executable, "-c", _THERE_AND_BACK, str(tmp_path), json.dumps(options)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    small, large = json.loads(done.stdout)
    assert large - small < 60, f"{small} MB for 70 MB, {large} MB for 200 MB"
