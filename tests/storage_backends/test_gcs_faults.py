"""Cloud Storage that fails: what is tried again, what is not, and that nothing is left behind."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from storage_backends.errors import (
    StorageChangedError,
    StorageCorruptError,
    StorageDeniedError,
    StorageError,
    StorageNotFoundError,
    StorageTransientError,
)
from storage_backends.gcs.backend import GcsBackend, GcsStore
from storage_backends.gcs.connection import GcsConnection
from storage_backends.pool import TransferPool
from storage_backends.retrying import Retry
from storage_backends.watch import TransferStoppedError, Watch
from tests.services.gcs_emulator import new_bucket
from tests.storage_backends.gcs_proxy import Fault, Proxy, first, proxied
from tests.waiting import wait_until

DATA = os.urandom(300_000)
DOWNLOAD, UPLOAD, PUT = "GET /download", "POST /upload", "PUT /upload"
ALWAYS = 1_000_000


@pytest.fixture
def proxy(gcs_emulator: str) -> Iterator[Proxy]:
    with proxied(gcs_emulator) as opened:
        yield opened


@pytest.fixture
def bucket(gcs_emulator: str) -> str:
    return new_bucket(gcs_emulator)


@pytest.fixture
def backend(proxy: Proxy, bucket: str) -> Iterator[GcsBackend]:
    yield from opened(proxy, bucket, deadline=20.0)


@pytest.fixture
def hasty(proxy: Proxy, bucket: str) -> Iterator[GcsBackend]:
    """A backend that gives up soon."""
    yield from opened(proxy, bucket, deadline=0.1)


def opened(proxy: Proxy, bucket: str, deadline: float) -> Iterator[GcsBackend]:
    connection = GcsConnection(None, proxy.url, 16, timeout=(5.0, 1.0))
    pool = TransferPool(4)
    store = GcsStore(connection, bucket, placeholders=False)
    backend = GcsBackend(store, pool, Retry(0.01, 0.02, deadline))
    yield backend
    backend.close()
    pool.close()


@pytest.fixture
def job(tmp_path: Path) -> Path:
    (tmp_path / "made").write_bytes(DATA)
    return tmp_path


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def plant(proxy: Proxy, bucket: str, name: str, data: bytes) -> None:
    """Write an object as somebody else would."""
    url = f"{proxy.emulator}/upload/storage/v1/b/{bucket}/o"
    requests.post(
        url, params={"uploadType": "media", "name": name}, data=data, timeout=30.0
    ).raise_for_status()


def stored(proxy: Proxy, bucket: str, name: str) -> bytes | None:
    url = f"{proxy.emulator}/download/storage/v1/b/{bucket}/o/{name}"
    answer = requests.get(url, params={"alt": "media"}, timeout=30.0)
    return answer.content if answer.ok else None


def require_one_line(caught: pytest.ExceptionInfo[StorageError], bucket: str) -> None:
    text = str(caught.value)
    assert "\n" not in text
    assert "file 'x'" in text
    assert f"gs://{bucket}/x" in text


@pytest.mark.parametrize("fault", [408, 429, 500, 503, "reset", "truncate", "flip", "stall"])
def test_a_fetch_outlives_what_passes(
    backend: GcsBackend, proxy: Proxy, bucket: str, job: Path, fault: Fault
) -> None:
    plant(proxy, bucket, "x", DATA)
    proxy.choose = first(2, fault, DOWNLOAD)
    watch = Watch()
    backend.fetch("x", job / "in" / "x", watch=watch)
    assert (job / "in/x").read_bytes() == DATA
    assert names(job / "in") == ["x"]
    assert proxy.count(DOWNLOAD) == 3
    assert watch.bytes == len(DATA)


@pytest.mark.parametrize(
    ("fault", "sent"), [(429, 2), (503, 2), ("reset", 2), ("lost", 1), ("truncate", 1)]
)
def test_a_store_outlives_what_passes_and_writes_once(
    backend: GcsBackend, proxy: Proxy, bucket: str, job: Path, fault: Fault, sent: int
) -> None:
    proxy.choose = first(1, fault, UPLOAD)
    watch = Watch()
    moved = backend.store(job / "made", "x", within=job, watch=watch)
    assert stored(proxy, bucket, "x") == DATA
    assert proxy.count(UPLOAD) == sent
    assert watch.bytes == moved.bytes == len(DATA)
    assert moved.version == backend.entries("x")[0].version


@pytest.mark.parametrize(
    ("status", "error", "remedy"),
    [
        (400, StorageDeniedError, "refuses"),
        (401, StorageDeniedError, "gcloud auth"),
        (403, StorageDeniedError, "Storage Object User"),
        (404, StorageNotFoundError, "no such object or bucket"),
    ],
)
def test_what_will_not_pass_is_asked_once(
    backend: GcsBackend,
    proxy: Proxy,
    bucket: str,
    job: Path,
    status: int,
    error: type[StorageError],
    remedy: str,
) -> None:
    proxy.choose = first(ALWAYS, status, "/storage/v1")
    with pytest.raises(error, match=remedy) as caught:
        backend.store(job / "made", "x", within=job)
    require_one_line(caught, bucket)
    assert proxy.count() == 1
    with pytest.raises(error):
        backend.fetch("x", job / "in" / "x")
    assert names(job / "in") == []


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (503, StorageTransientError),
        ("reset", StorageTransientError),
        ("truncate", StorageTransientError),
        ("flip", StorageCorruptError),
    ],
)
def test_a_fetch_that_keeps_failing_leaves_nothing(
    hasty: GcsBackend, proxy: Proxy, bucket: str, job: Path, fault: Fault, error: type[StorageError]
) -> None:
    plant(proxy, bucket, "x", DATA)
    plant(proxy, bucket, "tree/good", DATA)
    plant(proxy, bucket, "tree/sub/bad", DATA)
    proxy.choose = first(ALWAYS, fault, DOWNLOAD)
    with pytest.raises(error) as caught:
        hasty.fetch("x", job / "in" / "x")
    require_one_line(caught, bucket)
    assert names(job / "in") == []
    always = first(ALWAYS, fault, DOWNLOAD)
    proxy.choose = lambda request: always(request) if "bad" in request else None
    with pytest.raises(error, match="file 'tree/sub/bad'"):
        hasty.fetch("tree/", job / "in" / "tree")
    assert names(job / "in") == []


def test_a_server_that_is_away_is_transient(job: Path) -> None:
    options = {"bucket": "b", "endpoint": "http://127.0.0.1:9", "retry_seconds": 0}
    with GcsBackend.open(options, TransferPool(2)) as backend:
        with pytest.raises(StorageTransientError, match="does not answer"):
            backend.fetch("x", job / "x")
        with pytest.raises(StorageTransientError, match="does not answer"):
            backend.entries("")


def test_no_credentials_are_an_error_that_says_how_to_get_some(
    job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(job / "none.json"))
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    backend = GcsBackend.open({"bucket": "b"}, TransferPool(2))
    with pytest.raises(StorageDeniedError, match="gcloud auth application-default login"):
        backend.fetch("x", job / "x")


def test_a_file_replaced_after_it_was_looked_at_is_fetched_whole_and_new(
    backend: GcsBackend, proxy: Proxy, bucket: str, job: Path
) -> None:
    plant(proxy, bucket, "x", DATA)
    newer = DATA[::-1]
    left = [1]

    def replace(request: str) -> None:
        if request.startswith(DOWNLOAD) and left.pop():
            left.append(0)
            plant(proxy, bucket, "x", newer)

    proxy.before = replace
    backend.fetch("x", job / "x")
    assert (job / "x").read_bytes() == newer


# Uploads and their preconditions


def test_a_new_file_is_one_request_and_a_replaced_one_three(
    backend: GcsBackend, proxy: Proxy, bucket: str, job: Path
) -> None:
    backend.store(job / "made", "x", within=job)
    assert proxy.count() == 1
    assert "ifGenerationMatch=0" in proxy.seen[0]
    (job / "made").write_bytes(b"another")
    watch = Watch()
    backend.store(job / "made", "x", within=job, watch=watch)
    assert proxy.count() == 1 + 3
    assert watch.bytes == len(b"another")
    assert stored(proxy, bucket, "x") == b"another"


def test_a_tree_is_one_listing_and_one_request_for_each_file(
    backend: GcsBackend, proxy: Proxy, job: Path
) -> None:
    (job / "tree").mkdir()
    for content in (b"first", b"second"):
        for number in range(20):
            (job / "tree" / str(number)).write_bytes(content * number)
        proxy.seen.clear()
        backend.store(job / "tree", "tree/", within=job)
        # A busy emulator may drop a connection: then a file is sent once more.
        assert 20 <= proxy.count(UPLOAD) < 30
        assert proxy.count() - proxy.count(UPLOAD) == 1
    proxy.seen.clear()
    backend.fetch("tree/", job / "back")
    assert 19 <= proxy.count(DOWNLOAD) < 30  # one is empty
    assert proxy.count() - proxy.count(DOWNLOAD) == 1


def test_what_somebody_else_has_written_meanwhile_stays(
    backend: GcsBackend, proxy: Proxy, bucket: str, job: Path
) -> None:
    (job / "tree").mkdir()
    (job / "tree/x").write_bytes(DATA)
    for earlier in (None, b"an earlier one"):
        if earlier is not None:
            plant(proxy, bucket, "tree/x", earlier)
        proxy.before = lambda request: (
            plant(proxy, bucket, "tree/x", b"newer") if UPLOAD in request else None
        )
        with pytest.raises(StorageChangedError, match=r"file 'tree/x'.*somebody else"):
            backend.store(job / "tree", "tree/", within=job)
        assert stored(proxy, bucket, "tree/x") == b"newer"


@pytest.mark.parametrize("earlier", [None, b"an earlier one"])
@pytest.mark.parametrize("looks", [0, 2])
def test_what_somebody_else_writes_between_attempts_stays(
    backend: GcsBackend,
    proxy: Proxy,
    bucket: str,
    job: Path,
    earlier: bytes | None,
    looks: int,
) -> None:
    if earlier is not None:
        plant(proxy, bucket, "x", earlier)
    sending, looking = first(1, 503, UPLOAD), first(looks, 503, "GET /storage")
    proxy.choose = lambda request: sending(request) or looking(request)
    # Before the second upload is done, and so after the look.
    proxy.before = lambda request: (
        plant(proxy, bucket, "x", b"newer")
        if UPLOAD in request and proxy.count(UPLOAD) == 2
        else None
    )
    with pytest.raises(StorageChangedError, match=r"file 'x'.*somebody else"):
        backend.store(job / "made", "x", within=job)
    assert stored(proxy, bucket, "x") == b"newer"


@pytest.mark.parametrize("fault", [503, "reset", "lost"])
def test_an_earlier_file_is_replaced_though_the_first_attempts_fail(
    backend: GcsBackend, proxy: Proxy, bucket: str, job: Path, fault: Fault
) -> None:
    plant(proxy, bucket, "x", b"an earlier one")
    proxy.choose = first(2, fault, UPLOAD)
    backend.store(job / "made", "x", within=job)
    assert stored(proxy, bucket, "x") == DATA


@pytest.mark.parametrize("looks", [0, 2])
def test_an_upload_whose_answer_is_lost_is_found_and_not_sent_again(
    backend: GcsBackend, proxy: Proxy, bucket: str, job: Path, looks: int
) -> None:
    lost, looking = first(1, "lost", UPLOAD), first(looks, 503, "GET /storage")
    proxy.choose = lambda request: lost(request) or looking(request)
    watch = Watch()
    moved = backend.store(job / "made", "x", within=job, watch=watch)
    assert (proxy.count(UPLOAD), stored(proxy, bucket, "x")) == (1, DATA)
    assert watch.bytes == moved.bytes == len(DATA)


@pytest.mark.parametrize("existing", [False, True])
def test_a_large_upload_goes_on_where_it_was_cut_off(
    backend: GcsBackend, proxy: Proxy, bucket: str, job: Path, existing: bool
) -> None:
    data = os.urandom(30 << 20)
    (job / "large").write_bytes(data)
    if existing:
        plant(proxy, bucket, "large", b"an earlier one")
    proxy.choose = first(1, "cut", PUT)
    watch = Watch()
    backend.store(job / "large", "large", within=job, watch=watch)
    assert stored(proxy, bucket, "large") == data
    assert proxy.count(UPLOAD) == 1
    assert proxy.count(PUT) == 3  # cut off, asked how far it came, gone on
    assert watch.bytes == len(data)


@pytest.mark.parametrize("fault", ["reset", 404, 503, "lost"])
def test_a_large_upload_outlives_what_passes(
    backend: GcsBackend, proxy: Proxy, bucket: str, job: Path, fault: Fault
) -> None:
    data = os.urandom(10 << 20)
    (job / "large").write_bytes(data)
    cut, second = first(1, "cut", PUT), first(1, fault, PUT)
    proxy.choose = lambda request: cut(request) or second(request)
    backend.store(job / "large", "large", within=job)
    assert stored(proxy, bucket, "large") == data


@pytest.mark.parametrize("status", [404, 410])
def test_a_large_upload_whose_session_is_gone_begins_anew(
    backend: GcsBackend, proxy: Proxy, bucket: str, job: Path, status: int
) -> None:
    data = os.urandom(10 << 20)
    (job / "large").write_bytes(data)
    proxy.choose = first(1, status, PUT)
    backend.store(job / "large", "large", within=job)
    assert stored(proxy, bucket, "large") == data
    assert proxy.count(UPLOAD) == 2


def test_a_large_upload_whose_answer_is_lost_is_not_sent_again(
    backend: GcsBackend, proxy: Proxy, bucket: str, job: Path
) -> None:
    (job / "large").write_bytes(bytes(10 << 20))
    proxy.choose = first(1, "lost", PUT)
    watch = Watch()
    backend.store(job / "large", "large", within=job, watch=watch)
    assert watch.bytes == 10 << 20
    assert stored(proxy, bucket, "large") == bytes(10 << 20)


# Stopping


@pytest.mark.parametrize("size", [300_000, 80 << 20])
def test_a_stopped_store_puts_nothing_into_the_store(
    backend: GcsBackend, proxy: Proxy, bucket: str, job: Path, size: int
) -> None:
    (job / "made").write_bytes(bytes(size))
    watch = Watch()
    proxy.before = lambda _: watch.stop()
    proxy.choose = first(1, 503, "uploadType")
    with pytest.raises(TransferStoppedError):
        backend.store(job / "made", "x", within=job, watch=watch)
    assert stored(proxy, bucket, "x") is None


def test_a_stop_in_the_middle_of_a_large_fetch_leaves_nothing(
    backend: GcsBackend, proxy: Proxy, bucket: str, job: Path
) -> None:
    plant(proxy, bucket, "x", bytes(100 << 20))
    watch = Watch()
    proxy.choose = first(1, "stall", "GET /download")
    ended: list[BaseException] = []

    def fetch() -> None:
        with pytest.raises(TransferStoppedError) as caught:
            backend.fetch("x", job / "in" / "x", watch=watch)
        ended.append(caught.value)

    fetching = threading.Thread(target=fetch)
    fetching.start()
    wait_until(lambda: watch.bytes > 1 << 20, what="some bytes")
    watch.stop()
    fetching.join(20.0)
    assert ended
    assert names(job / "in") == []
