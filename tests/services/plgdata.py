"""PL-Grid Data's HTTP service, as far as Portfire calls it, in this process."""

from __future__ import annotations

import base64
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote

#: No certificate at all, but of the right form.
PROXY = (
    "-----BEGIN CERTIFICATE-----\nbm90aGluZw==\n-----END CERTIFICATE-----\n"
    "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"
)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_: object) -> None:
        """A client that goes away in the middle is what some tests are about."""


@dataclass
class PlgDataServer:
    """Files below `directory`; a client has to send `PROXY`. Uploads make directories."""

    directory: Path
    url: str = ""
    #: Whether it looks for the certificate in the URL of a download, and nowhere else.
    proxy_in_url: bool = False
    #: Every request so far: ``METHOD /path``.
    requests: list[str] = field(default_factory=list)
    #: Asked first about each request, given that; what it returns is done in the request's place.
    fault: Callable[[str], Callable[[BaseHTTPRequestHandler], None] | None] = lambda _: None


@contextmanager
def serving(directory: Path) -> Iterator[PlgDataServer]:
    """The service on files below `directory`, for a while."""
    service = PlgDataServer(directory)

    class Handler(_Handler):
        plgdata = service

    server = _Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    service.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield service
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    plgdata: PlgDataServer

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class' name
        """Nothing."""

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not self._begins():
            return
        self.path, _, query = self.path.partition("?")
        proxies = parse_qs(query if self.plgdata.proxy_in_url else body.decode()).get("proxy", [])
        name = self._below("/download/")
        if proxies != [PROXY] or not self._knows_header():
            self._answer(403)
        elif name is None or not name.is_file():
            self._answer(404)
        else:
            self._answer(200, name.read_bytes())

    def do_POST(self) -> None:
        if not self._begins():
            self.close_connection = True
            return
        body = self.rfile.read(int(self.headers["Content-Length"]))
        parts = _parts(body, self.headers["Content-Type"])
        directory = self._below("/upload/")
        if parts.get("proxy", ("", b""))[1] != PROXY.encode() or not self._knows_header():
            self._answer(403)
        elif directory is None or "file" not in parts:
            self._answer(400)
        else:
            name, data = parts["file"]
            directory.mkdir(parents=True, exist_ok=True)
            temporary = directory / uuid.uuid4().hex
            temporary.write_bytes(data)
            temporary.replace(directory / name)
            self._answer(200)

    def _begins(self) -> bool:
        asked = f"{self.command} {self.path}"
        self.plgdata.requests.append(asked)
        fault = self.plgdata.fault(asked)
        if fault is not None:
            fault(self)
        return fault is None

    def _below(self, call: str) -> Path | None:
        if not self.path.startswith(call) or "?" in self.path:
            return None
        return self.plgdata.directory / unquote(self.path.removeprefix(call))

    def _knows_header(self) -> bool:
        return base64.b64decode(self.headers.get("PROXY", "")).decode() == PROXY

    def _answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _parts(body: bytes, content_type: str) -> dict[str, tuple[str, bytes]]:
    """File name and content of the parts of a form, by their names."""
    boundary = content_type.partition("boundary=")[2].encode()
    parts = {}
    for part in body.split(b"--" + boundary)[1:-1]:
        head, _, data = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        told = dict(re.findall(r'(\w+)="([^"]*)"', head.decode()))
        file = told.get("filename", "").replace("%22", '"')
        parts[told["name"]] = (file, data.removesuffix(b"\r\n"))
    return parts
