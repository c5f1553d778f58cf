"""Stands before the GCS emulator: breaks what it is told to, and enforces preconditions."""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import requests

#: What may be done to one request: an HTTP status to answer with, or
#: ``reset``: hang up at once; ``lost``: do it, and hang up instead of answering;
#: ``cut``: let the first 8 MiB of an upload through and hang up;
#: ``truncate``: hang up in the middle of the answer; ``flip``: alter its last byte;
#: ``stall``: stop in the middle of it until the proxy ends.
Fault = int | str
#: Given ``METHOD PATH``, with the query, unquoted.
Choice = Callable[[str], Fault | None]

_CUT = 8 << 20


@dataclass(frozen=True)
class Answer:
    """What the emulator, or the proxy in its place, says."""

    status: int
    headers: dict[str, str]
    body: bytes


class Proxy:
    """One proxy; see `proxied`. Its fields may be set while it serves."""

    def __init__(self, emulator: str) -> None:
        self.emulator = emulator
        self.url = ""
        #: ``METHOD PATH`` of every request, unquoted, in the order of their arrival.
        self.seen: list[str] = []
        #: The client's address for every connection.
        self.connections: set[Any] = set()
        self.choose: Choice = lambda _: None
        #: Called with each request before anything is done about it.
        self.before: Callable[[str], None] = lambda _: None
        self.ended = threading.Event()

    def count(self, text: str = "/o") -> int:
        """How many requests had `text` in them; by default, how many were about objects.

        The client library also asks once for a bucket's metadata, in the background.
        """
        return sum(text in request for request in self.seen)


def first(times: int, fault: Fault, text: str) -> Choice:
    """The `fault` for the first `times` requests with `text` in them."""
    left = [times]
    lock = threading.Lock()

    def choose(request: str) -> Fault | None:
        with lock:
            if text not in request or not left[0]:
                return None
            left[0] -= 1
            return fault

    return choose


@contextmanager
def proxied(emulator: str) -> Iterator[Proxy]:
    """A proxy before the emulator at the URL `emulator`, for a while."""
    proxy = Proxy(emulator)
    handler = type("Handler", (_Handler,), {"proxy": proxy})
    server = _Server(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.request_queue_size = 100
    proxy.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield proxy
    finally:
        proxy.ended.set()
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing of clients that hang up: they are meant to."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: Proxy

    def _handle(self) -> None:
        request = f"{self.command} {unquote(self.path)}"
        self.proxy.connections.add(self.client_address)
        self.proxy.seen.append(request)
        self.proxy.before(request)
        fault = self.proxy.choose(request)
        if fault == "reset":
            return self._hang_up()
        if fault == "cut":
            return self._cut()
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if isinstance(fault, int):
            said = json.dumps({"error": {"code": fault, "message": "as the\ntest wants"}})
            return self._say(Answer(fault, {}, said.encode()), None)
        answer = self._refused(body) or self._forward(body, dict(self.headers))
        return self._say(answer, fault)

    do_GET = do_POST = do_PUT = do_DELETE = _handle  # noqa: N815 - the names that http.server calls

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's own name
        pass

    def _refused(self, body: bytes) -> Answer | None:
        """412 where the object is not of the generation that the upload names."""
        query = parse_qs(urlsplit(self.path).query)
        wanted = query.get("ifGenerationMatch")
        if wanted is None or self.command != "POST":
            return None
        text = body[body.index(b"{") :]
        name = json.JSONDecoder().raw_decode(text[: text.index(b"}") + 1].decode())[0]["name"]
        bucket = urlsplit(self.path).path.split("/")[5]
        found = requests.get(
            f"{self.proxy.emulator}/storage/v1/b/{bucket}/o/{quote(name, safe='')}", timeout=30.0
        )
        generation = found.json()["generation"] if found.ok else "0"
        if generation == wanted[0]:
            return None
        return Answer(412, {}, b'{"error": {"message": "conditionNotMet"}}')

    def _forward(self, body: bytes, headers: dict[str, str]) -> Answer:
        url = self.proxy.emulator + self.path
        kept = {name: headers[name] for name in headers if name.title() in _FORWARDED}
        said = requests.request(
            self.command, url, data=body, headers=kept, allow_redirects=False, timeout=60.0
        )
        answer = {name: said.headers[name] for name in said.headers if name.title() in _ANSWERED}
        if "Location" in answer:
            answer["Location"] = answer["Location"].replace(self.proxy.emulator, self.proxy.url)
        return Answer(said.status_code, answer, said.content)

    def _cut(self) -> None:
        headers = dict(self.headers)
        size = headers["Content-Range"].partition("/")[2]
        headers["Content-Range"] = f"bytes 0-{_CUT - 1}/{size}"
        self._forward(self.rfile.read(_CUT), headers)
        self._hang_up()

    def _say(self, answer: Answer, fault: Fault | None) -> None:
        if fault == "lost":
            return self._hang_up()
        body = answer.body
        if fault == "flip":
            body = body[:-1] + bytes([body[-1] ^ 1])
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if fault in ("truncate", "stall"):
            self.wfile.write(body[: len(body) // 2])
            if fault == "stall":
                self.proxy.ended.wait(60.0)
            return self._hang_up()
        self.wfile.write(body)
        return None

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)


_FORWARDED = {"Content-Type", "Content-Range", "Range"}
_ANSWERED = {"Content-Type", "Content-Range", "Range", "Location", "X-Goog-Hash"}
