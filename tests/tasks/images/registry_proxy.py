"""A small proxy before a registry, which fails or waits where a test tells it to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

import requests


@dataclass(frozen=True)
class Answer:
    """What the proxy says in the registry's place."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def error(cls, status: int, code: str, message: str) -> Answer:
        """A refusal in the registry's own form."""
        body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
        return cls(status, body, {"Content-Type": "application/json"})


#: Method and path to an answer in the registry's place, or None to ask the registry.
Fault = Callable[[str, str], Answer | None]


class RegistryProxy:
    """Passes requests on to the registry at `target`; a context manager that serves meanwhile."""

    def __init__(self, target: str) -> None:
        self._target = f"http://{target}"
        #: Asked first, for each request.
        self.fault: Fault = lambda _method, _path: None
        #: While it is not set, manifests are answered by nobody.
        self.gate = threading.Event()
        self.gate.set()
        #: Paths that were asked for.
        self.asked: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.address = f"127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, name="registry-proxy")

    def __enter__(self) -> RegistryProxy:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.gate.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, method: str, path: str, headers: Mapping[str, str]) -> Answer:
        """What is said to a request; blocks while the gate is shut."""
        self.asked.append(path)
        if "/manifests/" in path:
            self.gate.wait(60.0)
        fault = self.fault(method, path)
        if fault is not None:
            return fault
        found = requests.request(method, self._target + path, headers=dict(headers), timeout=30)
        kept = {"content-type", "docker-content-digest", "docker-distribution-api-version"}
        told = {name: value for name, value in found.headers.items() if name.lower() in kept}
        if method == "HEAD":
            told["Content-Length"] = found.headers["Content-Length"]
        return Answer(found.status_code, found.content, told)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked = {"Accept": ", ".join(self.headers.get_all("Accept", []))}
                answer = proxy.answer(self.command, self.path, asked)
                self.send_response(answer.status)
                length = {"Content-Length": str(len(answer.body))}
                for name, value in {**length, **answer.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer.body)

            do_HEAD = do_GET  # noqa: N815 - the name that the server looks for

            def log_message(self, *_: Any) -> None:
                pass

        return Handler
