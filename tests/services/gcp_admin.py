"""A fake of Google's administrative APIs in this process, as far as `portfire gce` uses them.

Resource Manager, Service Usage, IAM, Pub/Sub's policies, Cloud Storage's buckets, and tokens. It
follows the public reference: policies have etags, accounts are unknown to policies until they are
made, enabling services takes a moment. A request that the APIs do not have fails the test.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.services.gcp_admin_methods import AdminMethods, RefusedError

_P, _ID = r"v1/projects/(?P<project>[^/:]+)", r"[^/:]+"
_ROUTES = [
    ("POST", r"token", "token"),
    ("GET", _P, "project"),
    ("POST", rf"(?P<resource>{_P}):getIamPolicy", "get_policy"),
    ("POST", rf"(?P<resource>{_P}):setIamPolicy", "set_policy"),
    ("POST", rf"(?P<resource>{_P}):testIamPermissions", "granted_permissions"),
    ("GET", rf"{_P}/services:batchGet", "services"),
    ("POST", rf"{_P}/services:batchEnable", "enable"),
    ("GET", rf"v1/operations/(?P<operation>{_ID})", "operation"),
    ("POST", rf"{_P}/serviceAccounts", "make_account"),
    ("GET", rf"{_P}/serviceAccounts/(?P<account>{_ID})", "account"),
    (
        "POST",
        rf"(?P<resource>{_P}/serviceAccounts/(?P<account>{_ID})):testIamPermissions",
        "granted_permissions",
    ),
    ("POST", rf"{_P}/roles", "make_role"),
    ("GET", rf"v1/(?P<role>(projects/{_ID}/)?roles/{_ID})", "role"),
    ("PATCH", rf"v1/(?P<role>projects/{_ID}/roles/{_ID})", "patch_role"),
    ("POST", rf"v1/(?P<role>projects/{_ID}/roles/{_ID}):undelete", "undelete_role"),
    ("GET", rf"(?P<resource>{_P}/(topics|subscriptions)/{_ID}):getIamPolicy", "get_policy"),
    ("POST", rf"(?P<resource>{_P}/(topics|subscriptions)/{_ID}):setIamPolicy", "set_policy"),
    ("POST", r"storage/v1/b", "make_bucket"),
    ("GET", rf"storage/v1/b/(?P<bucket>{_ID})", "bucket"),
    ("GET", rf"storage/v1/b/(?P<bucket>{_ID})/iam", "bucket_policy"),
    ("PUT", rf"storage/v1/b/(?P<bucket>{_ID})/iam", "set_bucket_policy"),
]


class FakeAdmin(AdminMethods):
    """The server. Use `serving_admin`, which checks at its end that no request was invalid."""

    def __init__(self) -> None:
        super().__init__()
        handler = type("Handler", (_Handler,), {"admin": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        #: Status with which calls of methods that match are refused, by pattern.
        self.refuse: dict[str, int] = {}
        #: Calls of methods that match this wait until the server closes.
        self.hangs = ""
        #: Calls that are answered with 429 or 503 before the right answer.
        self.busy = 0
        self.calls: list[str] = []
        self.invalid: list[str] = []
        self._closing = threading.Event()
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name="fake-admin"
        )

    @property
    def variables(self) -> dict[str, str]:
        """The environment of programs that are to use it."""
        apis = ("cloudresourcemanager", "iam", "pubsub", "serviceusage", "storage")
        return {f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{api.upper()}": self.url for api in apis}

    def answer(self, verb: str, path: str, query: dict[str, list[str]], body: Any) -> Any:
        """One request. Raises RefusedError."""
        for wanted, pattern, name in _ROUTES:
            match = re.fullmatch(pattern, path.lstrip("/"))
            if match and wanted == verb:
                self.calls.append(name)
                if self.hangs and re.fullmatch(self.hangs, name):
                    self._closing.wait(60.0)
                for refused, status in self.refuse.items():
                    if re.fullmatch(refused, name):
                        raise RefusedError(status, f"{name} is refused by the test")
                with self.lock:
                    if self.busy:
                        self.busy -= 1
                        raise RefusedError((429, 503)[self.busy % 2], "Please try again.")
                    return getattr(self, name)(match.groupdict(), query, body)
        raise NotImplementedError(f"no such method: {verb} {path}")

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def close(self) -> None:
        """Stop answering."""
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def serving_admin() -> Iterator[FakeAdmin]:
    """Fake APIs for a while."""
    admin = FakeAdmin()
    admin.start()
    try:
        yield admin
    finally:
        admin.close()
    assert admin.invalid == []


class _Handler(BaseHTTPRequestHandler):
    """HTTP to `FakeAdmin.answer` and back."""

    admin: FakeAdmin
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        text = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        is_json = "json" in self.headers.get("Content-Type", "")
        try:
            body = json.loads(text) if text and is_json else {}
            answer = self.admin.answer(self.command, parts.path, parse_qs(parts.query), body)
        except RefusedError as exc:
            self._send(exc.status, exc.body())
        except Exception as exc:  # noqa: BLE001 - whatever it is, the test is told
            self.admin.invalid.append(f"{self.command} {self.path}: {exc!r}")
            self._send(400, RefusedError(400, str(exc)).body())
        else:
            self._send(200, answer)

    do_GET = do_POST = do_PUT = do_PATCH = _serve  # noqa: N815 - the base class looks for these

    def _send(self, status: int, answer: Any) -> None:
        data = json.dumps(answer).encode()
        try:
            self.send_response(status)
            self.send_header("Content-Type", "application/json; charset=UTF-8")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
        except OSError:
            self.close_connection = True  # the client did not wait

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class' name
        """Nothing."""
