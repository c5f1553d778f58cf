"""PL-Grid Data beyond the exam: its protocol, its faults, and the secret that travels with it."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from messaging.errors import UsageError
from storage_backends import StorageBackend, open_backend
from storage_backends.contract import Entry
from storage_backends.errors import (
    StorageDeniedError,
    StorageNotFoundError,
    StorageTransientError,
)
from storage_backends.watch import TransferStoppedError, Watch
from tests.services import plgdata
from tests.services.plgdata import PlgDataServer
from tests.storage_backends.conformance.files import StoppingWatch, contents, put

_SECRET = "c2VjcmV0"


@pytest.fixture
def job(tmp_path: Path) -> Path:
    directory = tmp_path / "job"
    directory.mkdir()
    return directory


@pytest.fixture
def proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "proxy"
    path.write_text(plgdata.PROXY)
    monkeypatch.setenv("X509_USER_PROXY", str(path))
    return path


@pytest.fixture
def service(tmp_path: Path) -> Iterator[PlgDataServer]:
    (tmp_path / "files").mkdir()
    with plgdata.serving(tmp_path / "files") as serving:
        yield serving


@pytest.fixture
def backend(
    service: PlgDataServer,
    proxy: Path,  # noqa: ARG001 - it is in the environment
) -> Iterator[StorageBackend]:
    options = {"endpoint": service.url, "retry_seconds": 20, "upload_limit": 5_000_000}
    with open_backend("plgdata", options) as opened:
        yield opened


def answering(status: int, times: int = 1, **headers: str) -> Callable[[str], _Fault | None]:
    """A fault: the first `times` requests are answered with `status`."""
    left = [status] * times

    def fault(_: str) -> _Fault | None:
        return (lambda handler: _answer(handler, left.pop(), headers)) if left else None

    return fault


_Fault = Callable[[BaseHTTPRequestHandler], None]


def _answer(handler: BaseHTTPRequestHandler, status: int, headers: dict[str, str]) -> None:
    if handler.command == "POST":
        handler.rfile.read(int(handler.headers["Content-Length"]))
    handler.send_response(status)
    for name, value in {"Content-Length": "0", **headers}.items():
        handler.send_header(name, value)
    handler.end_headers()


def test_the_calls_are_those_of_hyperflow(
    backend: StorageBackend, service: PlgDataServer, job: Path
) -> None:
    backend.store(put(job, "x"), "people/me/dir with space/x", within=job)
    backend.fetch("people/me/dir with space/x", job / "back")
    assert service.requests == [
        "POST /upload/people/me/dir%20with%20space",
        "GET /download/people/me/dir%20with%20space/x",
    ]


def test_a_service_that_looks_into_the_url_only_finds_the_certificate_there(
    service: PlgDataServer, backend: StorageBackend, job: Path
) -> None:
    service.proxy_in_url = True
    backend.store(put(job, "x"), "x", within=job)
    with pytest.raises(StorageDeniedError):
        backend.fetch("x", job / "not here")
    options = {"endpoint": service.url, "proxy_in_url": True}
    with open_backend("plgdata", options) as asked:
        asked.fetch("x", job / "back")
    assert (job / "back").read_bytes() == (job / "x").read_bytes()


@pytest.mark.parametrize("status", [500, 502, 503, 429, 408])
def test_a_passing_failure_is_tried_again(
    backend: StorageBackend, service: PlgDataServer, job: Path, status: int
) -> None:
    watch = Watch()
    service.fault = answering(status)
    backend.store(put(job, "x"), "x", within=job, watch=watch)
    service.fault = answering(status)
    backend.fetch("x", job / "back", watch=watch)
    assert (job / "back").read_bytes() == b"some bytes"
    assert watch.bytes == 20
    assert len(service.requests) == 4


@pytest.mark.parametrize(
    ("status", "error", "said"),
    [
        (400, StorageDeniedError, "400"),
        (401, StorageDeniedError, "proxy certificate"),
        (403, StorageDeniedError, "proxy certificate"),
        (404, StorageNotFoundError, "not there"),
        (413, StorageDeniedError, "too large"),
        (302, StorageDeniedError, "PLGDATA_ENDPOINT"),
    ],
)
def test_what_will_not_pass_is_not_tried_again(
    backend: StorageBackend,
    service: PlgDataServer,
    job: Path,
    status: int,
    error: type[Exception],
    said: str,
) -> None:
    put(job, "x")
    service.fault = answering(status, times=2, Location=f"{service.url}/elsewhere")
    with pytest.raises(error, match=f"'x'.*{said}"):
        backend.store(job / "x", "x", within=job)
    with pytest.raises(error, match=f"'x'.*{said}"):
        backend.fetch("x", job / "back")
    assert len(service.requests) == 2
    assert set(contents(job)) == {"x"}


@pytest.mark.parametrize("promised", [200_000, 3_000_000])
def test_a_truncated_body_is_tried_again(
    backend: StorageBackend, service: PlgDataServer, job: Path, promised: int
) -> None:
    data = os.urandom(promised)
    put(service.directory, "x", data)
    broken = iter([True])

    def truncated(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(promised))
        handler.end_headers()
        handler.wfile.write(data[: promised // 2])
        handler.close_connection = True

    service.fault = lambda _: truncated if next(broken, False) else None
    watch = Watch()
    backend.fetch("x", job / "x", watch=watch)
    assert (job / "x").read_bytes() == data
    assert watch.bytes == promised
    assert len(service.requests) == 2


@pytest.mark.parametrize("garbage", [b"", b"garbage\r\n\r\n", bytes(5000)])
@pytest.mark.usefixtures("proxy")
def test_garbage_is_transient_and_leaves_nothing(
    service: PlgDataServer, job: Path, garbage: bytes
) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(garbage)
        handler.close_connection = True

    service.fault = lambda _: answer
    with open_backend("plgdata", {"endpoint": service.url, "retry_seconds": 0}) as backend:
        with pytest.raises(StorageTransientError) as caught:
            backend.fetch("x", job / "x")
        assert str(caught.value).isprintable()
        with pytest.raises(StorageTransientError):
            backend.store(put(job, "out"), "x", within=job)
    assert set(contents(job)) == {"out"}


@pytest.mark.usefixtures("proxy")
def test_a_service_that_is_away_is_transient(job: Path) -> None:
    options = {"endpoint": "http://127.0.0.1:1", "retry_seconds": 0}
    with (
        open_backend("plgdata", options) as backend,
        pytest.raises(StorageTransientError, match=r"'x'.*connection failed"),
    ):
        backend.fetch("x", job / "x")


def test_a_file_over_the_limit_is_refused_before_anything_is_sent(
    backend: StorageBackend, service: PlgDataServer, job: Path
) -> None:
    put(job, "tree/a")
    put(job, "tree/b", bytes(5_000_001))
    for source, name in (("tree/b", "b"), ("tree", "tree/")):
        with pytest.raises(StorageDeniedError, match=r"'(tree/)?b'.*5000001 bytes.*GridFTP"):
            backend.store(job / source, name, within=job)
    assert service.requests == []
    backend.store(put(job, "full", bytes(5_000_000)), "full", within=job)


@pytest.mark.usefixtures("proxy")
def test_the_limit_is_256_mib_without_an_option(service: PlgDataServer, job: Path) -> None:
    with (job / "large").open("wb") as made:
        made.truncate((256 << 20) + 1)
    with (
        open_backend("plgdata", {"endpoint": service.url}) as backend,
        pytest.raises(StorageDeniedError, match="268435456"),
    ):
        backend.store(job / "large", "large", within=job)
    assert service.requests == []


def test_a_tree_is_stored_file_by_file(
    backend: StorageBackend, service: PlgDataServer, job: Path
) -> None:
    for name in ("a", "b/c", "b/d e"):
        put(job, f"out/{name}", name.encode())
    watch = Watch()
    stored = backend.store(job / "out", "deep/tree/", within=job, watch=watch)
    assert contents(service.directory / "deep/tree") == contents(job / "out")
    assert stored.bytes == watch.bytes == 9
    (job / "empty/inside").mkdir(parents=True)
    with pytest.raises(StorageDeniedError, match="empty directories"):
        backend.store(job / "empty", "empty/", within=job)


@pytest.mark.parametrize("leads", ["/etc/passwd", "../../outside", "nowhere"])
def test_a_symlink_that_leads_out_of_the_job_is_refused(
    backend: StorageBackend, service: PlgDataServer, job: Path, leads: str
) -> None:
    put(job.parent, "outside")
    put(job, "out/good")
    (job / "out/link").symlink_to(leads)
    for source, name in (("out/link", "leaked"), ("out", "tree/")):
        with pytest.raises(StorageDeniedError, match="symbolic link"):
            backend.store(job / source, name, within=job)
    assert service.requests == []


@pytest.mark.timeout(20)
def test_a_fifo_is_refused_at_once(
    backend: StorageBackend, service: PlgDataServer, job: Path
) -> None:
    os.mkfifo(job / "pipe")
    with pytest.raises(StorageDeniedError, match="not a regular file"):
        backend.store(job / "pipe", "pipe", within=job)
    assert service.requests == []


def test_a_stop_in_the_middle_leaves_nothing(
    backend: StorageBackend, service: PlgDataServer, job: Path
) -> None:
    put(service.directory, "x", bytes(4_000_000))
    with pytest.raises(TransferStoppedError):
        backend.fetch("x", job / "x", watch=StoppingWatch(1_500_000))
    assert contents(job) == {}
    put(job, "out", bytes(4_000_000))
    with pytest.raises(TransferStoppedError):
        backend.store(job / "out", "out", within=job, watch=StoppingWatch(1_500_000))
    assert set(contents(service.directory)) == {"x"}


def test_the_size_of_a_file_is_known_and_nothing_else(
    backend: StorageBackend, service: PlgDataServer
) -> None:
    put(service.directory, "a/x", bytes(3_000_000))
    assert backend.entries("a/x") == [Entry("a/x", 3_000_000)]
    with pytest.raises(StorageDeniedError, match="name each file"):
        backend.entries("")
    with pytest.raises(StorageNotFoundError, match="'none'"):
        backend.entries("none")


def test_a_renewed_proxy_is_used_and_a_lost_one_is_denied(
    backend: StorageBackend, service: PlgDataServer, proxy: Path, job: Path
) -> None:
    put(service.directory, "x")
    renewed = plgdata.PROXY
    proxy.write_text(renewed.replace(_SECRET, "b2xk"))
    with pytest.raises(StorageDeniedError, match="403"):
        backend.fetch("x", job / "x")
    proxy.write_text(renewed)
    backend.fetch("x", job / "x")
    proxy.unlink()
    with pytest.raises(StorageDeniedError, match="grid-proxy-init"):
        backend.fetch("x", job / "x")


def test_no_proxy_certificate_is_a_usage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("X509_USER_PROXY", str(tmp_path / "none"))
    with pytest.raises(UsageError, match=r"none'.*grid-proxy-init"):
        open_backend("plgdata", {})
    (tmp_path / "public").write_text("-----BEGIN CERTIFICATE-----")
    monkeypatch.setenv("X509_USER_PROXY", str(tmp_path / "public"))
    with pytest.raises(UsageError, match="certificate and a key"):
        open_backend("plgdata", {})


@pytest.mark.parametrize(
    "endpoint",
    [
        "ftp://host",
        "host",
        "https://",
        "https://me@host",
        "https://host?x",
        "http://data.plgrid.pl",
        3,
    ],
)
@pytest.mark.usefixtures("proxy")
def test_a_wrong_endpoint_is_a_usage_error(endpoint: object) -> None:
    with pytest.raises(UsageError, match="PLGDATA_ENDPOINT"):
        open_backend("plgdata", {"endpoint": endpoint})


@pytest.mark.usefixtures("proxy")
def test_the_endpoint_comes_from_the_environment(
    service: PlgDataServer, job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLGDATA_ENDPOINT", f"{service.url}/")
    put(service.directory, "x")
    with open_backend("plgdata", {}) as backend:
        backend.fetch("x", job / "x")
    assert service.requests == ["GET /download/x"]


def test_the_private_key_is_in_no_url_message_or_log(
    backend: StorageBackend,
    service: PlgDataServer,
    job: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    service.fault = answering(500)
    backend.store(put(job, "x"), "x", within=job)
    service.fault = answering(403)
    with pytest.raises(StorageDeniedError) as caught:
        backend.fetch("x", job / "x")
    told = f"{caplog.text}{service.requests}{caught.getrepr(style='long', chain=True)}"
    assert _SECRET not in told.replace(plgdata.PROXY, "")
    assert "PRIVATE" not in caplog.text


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.text(
        st.characters(min_codepoint=32, exclude_characters="/\\\x7f", exclude_categories=["Cs"]),
        min_size=1,
        max_size=60,
    ).filter(lambda name: name not in (".", ".."))
)
def test_any_name_comes_back(backend: StorageBackend, job: Path, name: str) -> None:
    # Two bytes of a quotation mark in a form cannot be told from what browsers write for it.
    if "%22" in name:
        return
    backend.store(put(job, "made", name.encode()), f"{name}/{name}", within=job)
    backend.fetch(f"{name}/{name}", job / "back")
    assert (job / "back").read_bytes() == name.encode()


def test_eight_threads_move_files_side_by_side(
    backend: StorageBackend, service: PlgDataServer, job: Path
) -> None:
    def there_and_back(number: int) -> bool:
        data = os.urandom(200_000)
        put(job, f"out/{number}", data)
        backend.store(job / f"out/{number}", f"many/{number}", within=job)
        backend.fetch(f"many/{number}", job / f"in/{number}")
        return (job / f"in/{number}").read_bytes() == data

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(there_and_back, range(40)))
    assert len(service.requests) == 80
