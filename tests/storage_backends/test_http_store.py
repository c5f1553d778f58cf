"""Files on web servers, good and bad ones."""

from __future__ import annotations

import os
import threading
import time
from contextlib import closing
from email.utils import formatdate
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import ClassVar

import pytest

from messaging.errors import ServiceError
from storage_backends import open_backend
from storage_backends.cache.backend import CachedBackend
from storage_backends.cache.files import InputCache
from storage_backends.errors import (
    StorageDeniedError,
    StorageError,
    StorageNotFoundError,
    StorageTransientError,
)
from storage_backends.pool import TransferPool
from tests.services import web
from tests.services.mongodb import free_port
from tests.storage_backends.conformance.files import contents, put


class _Handler(web.QuietHandler):
    """Answers what `answers` says for a path, else serves the file."""

    #: Path to (status, headers, body).
    answers: ClassVar[dict[str, tuple[int, dict[str, str], bytes]]]
    heads = True

    def do_GET(self) -> None:  # noqa: N802 - the base class' name
        if self.path not in self.answers:
            super().do_GET()
            return
        status, headers, body = self.answers[self.path]
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)
        self.close_connection = True

    def do_HEAD(self) -> None:  # noqa: N802 - the base class' name
        if not self.heads:
            self.send_error(405)
        elif self.path in self.answers:
            self.do_GET()
        else:
            super().do_HEAD()


def _handler(**answers: tuple[int, dict[str, str], bytes]) -> type[SimpleHTTPRequestHandler]:
    paths = {f"/{path}": answer for path, answer in answers.items()}
    return type("Handler", (_Handler,), {"answers": paths})


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (403, StorageDeniedError),
        (401, StorageDeniedError),
        (404, StorageNotFoundError),
        (429, StorageTransientError),
        (500, StorageTransientError),
        (503, StorageTransientError),
    ],
)
def test_what_the_server_says_is_told_apart(
    tmp_path: Path, status: int, error: type[StorageError]
) -> None:
    with (
        web.serving(tmp_path, _handler(x=(status, {}, b"no"))) as url,
        open_backend("fsspec", {"url": url, "retry_seconds": 0}) as backend,
        pytest.raises(error, match=f"file 'x'.*{status}"),
    ):
        backend.fetch("x", tmp_path / "in")


def test_a_body_cut_short_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "job").mkdir()
    with (
        web.serving(tmp_path, _handler(x=(200, {"Content-Length": "100"}, b"short"))) as url,
        open_backend("fsspec", {"url": url, "retry_seconds": 0}) as backend,
        pytest.raises(StorageTransientError, match="'x'"),
    ):
        backend.fetch("x", tmp_path / "job/in")
    assert contents(tmp_path / "job") == {}


def test_a_server_without_head_is_asked_by_get(tmp_path: Path) -> None:
    put(tmp_path, "served/x", b"content")
    handler = type("NoHead", (_handler(),), {"heads": False})
    with (
        web.serving(tmp_path / "served", handler) as url,
        open_backend("fsspec", {"url": url}) as backend,
    ):
        backend.fetch("x", tmp_path / "in")
    assert (tmp_path / "in").read_bytes() == b"content"


def test_a_server_that_is_not_there_may_be_tried_again(tmp_path: Path) -> None:
    url = f"http://user:secret@127.0.0.1:{free_port()}"
    with (
        open_backend("fsspec", {"url": url, "retry_seconds": 0}) as backend,
        pytest.raises(ServiceError, match="'x'") as caught,
    ):
        backend.fetch("x", tmp_path / "in")
    assert "secret" not in str(caught.value)


def test_an_index_page_is_read_for_what_lies_in_it(tmp_path: Path) -> None:
    """Names that begin like a URL count; ways to sort, back, and elsewhere do not."""
    page = b"""<h1>Index of /data</h1>
      <a href="?C=N;O=D">Name</a> <a href="/">Parent</a> <a href="../">up</a>
      <a href="https://elsewhere.example/data/z">z</a> <a href="#top">top</a>
      <a href="httpd.conf">httpd.conf</a> <A HREF='a%20b.txt'>a b.txt</A>
      <a href="/data/R&amp;D">R&amp;D</a> <a href="deep/down">not directly here</a>"""
    for name in ("httpd.conf", "a b.txt", "R&D", "deep/down"):
        put(tmp_path, f"served/data/{name}", name.encode())
    handler = _handler(**{"data/": (200, {"Content-Type": "text/html"}, page)})
    with (
        web.serving(tmp_path / "served", handler) as url,
        open_backend("fsspec", {"url": url}) as backend,
    ):
        backend.fetch("data/", tmp_path / "in")
    names = ("httpd.conf", "a b.txt", "R&D")
    assert contents(tmp_path / "in") == {name: name.encode() for name in names}


def test_a_directory_without_a_page_holds_nothing_that_could_be_known(tmp_path: Path) -> None:
    handler = _handler(**{"data/": (200, {"Content-Type": "application/json"}, b"{}")})
    with (
        web.serving(tmp_path, handler) as url,
        open_backend("fsspec", {"url": url}) as backend,
        pytest.raises(StorageNotFoundError, match="'data/'"),
    ):
        backend.fetch("data/", tmp_path / "in")


def test_a_compressed_answer_is_kept_as_it_is(tmp_path: Path) -> None:
    handler = _handler(x=(200, {"Content-Encoding": "gzip"}, b"\x1f\x8b not really"))
    with web.serving(tmp_path, handler) as url, open_backend("fsspec", {"url": url}) as backend:
        backend.fetch("x", tmp_path / "in")
    assert (tmp_path / "in").read_bytes() == b"\x1f\x8b not really"


def test_a_file_replaced_between_look_and_fetch_is_fetched_anew(tmp_path: Path) -> None:
    looked = threading.Event()
    put(tmp_path, "served/x", b"first, and longer")

    class Replacing(web.QuietHandler):
        def do_HEAD(self) -> None:  # noqa: N802 - the base class' name
            super().do_HEAD()
            if not looked.is_set():
                looked.set()
                put(tmp_path, "served/x", b"second")

    with (
        web.serving(tmp_path / "served", Replacing) as url,
        open_backend("fsspec", {"url": url}) as backend,
    ):
        fetched = backend.fetch("x", tmp_path / "in")
    assert (tmp_path / "in").read_bytes() == b"second"
    assert fetched.bytes == 6


@pytest.mark.parametrize("etag", [{}, {"ETag": '"of the time"'}], ids=["none", "of the time"])
def test_a_file_has_no_version_until_its_time_tells_it_from_the_next(
    tmp_path: Path, etag: dict[str, str]
) -> None:
    handler = _handler()
    with web.serving(tmp_path, handler) as url, open_backend("fsspec", {"url": url}) as backend:
        for age in (-60.0, 0.0, 60.0):
            modified = {"Last-Modified": formatdate(time.time() - age, usegmt=True)}
            handler.answers["/x"] = (200, {**etag, **modified}, b"content")  # type: ignore[attr-defined]
            [entry] = backend.entries("x")
            assert (entry.version is not None) is (age == 60.0)
            assert backend.fetch("x", tmp_path / "in").version == entry.version


def test_a_file_replaced_at_once_by_one_of_the_same_size_is_never_served_old(
    tmp_path: Path,
) -> None:
    put(tmp_path, "served/x", b"0")
    with (
        web.serving(tmp_path / "served") as url,
        open_backend("fsspec", {"url": url}) as backend,
        closing(TransferPool(1)) as pool,
        closing(InputCache(tmp_path / "cache", 1000)) as cache,
    ):
        cached = CachedBackend(backend, cache, url, pool)
        for number in range(5):
            (tmp_path / "served/x").write_bytes(b"%d" % number)
            cached.fetch("x", tmp_path / "in")
            assert (tmp_path / "in").read_bytes() == b"%d" % number
        old = time.time() - 60
        os.utime(tmp_path / "served/x", (old, old))
        again = CachedBackend(backend, cache, url, pool)
        assert [again.fetch("x", tmp_path / "in").cached for _ in range(2)] == [0, 1]
