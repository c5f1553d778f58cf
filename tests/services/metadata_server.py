"""A fake metadata server of a Compute Engine VM, in this process.

As Google's own: JSON trees and leaves below ``/computeMetadata/v1/``, an ``ETag`` for each,
requests that wait for a change, ``Metadata-Flavor`` asked for and answered, and a token of the VM's
service account. And troubles: it may be slow, answer with errors, or be none of Google's at all.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

_ROOT = "/computeMetadata/v1/"
TOKEN = "token-of-the-vm"
EMAIL = "executor@portfire-local.iam.gserviceaccount.com"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"


@dataclass(frozen=True)
class Asked:
    """A request that came."""

    path: str
    query: Mapping[str, str]

    @property
    def waits(self) -> bool:
        return self.query.get("wait_for_change") == "true"


@dataclass
class Troubles:
    """What is wrong with the server."""

    #: Answer so late, in seconds.
    delay: float = 0.0
    #: Answer with this in place of 200.
    status: int = 200
    #: Do not say that one is Google's.
    no_flavor: bool = False
    #: Answer at once, whatever a request wants to wait for.
    never_waits: bool = False
    #: Answer this, for any path.
    body: bytes | None = None
    #: Ids of the paths that are not there.
    missing: set[str] = field(default_factory=set)


class MetadataServer:
    """One VM's metadata; all methods may be called while it serves."""

    def __init__(self, name: str = "vm-1", project: str = "portfire-local") -> None:
        self.troubles = Troubles()
        self.asked: list[Asked] = []
        self.host = ""
        self._changed = threading.Condition()
        token = {"access_token": TOKEN, "expires_in": 3599, "token_type": "Bearer"}
        account = {"aliases": ["default"], "email": EMAIL, "scopes": [SCOPE], "token": token}
        self._tree: dict[str, Any] = {
            "project": {"project-id": project, "numeric-project-id": "123"},
            "instance": {
                "attributes": {},
                "id": "4711",
                "name": name,
                "preempted": "FALSE",
                "scheduling": {"preemptible": "FALSE"},
                "zone": "projects/123/zones/us-central1-a",
                "service-accounts": {"default": account, EMAIL: account},
            },
        }

    def set_attributes(self, **attributes: str | None) -> None:
        """Set attributes of the instance; None removes one."""
        with self._changed:
            here = self._tree["instance"]["attributes"]
            here.update(attributes)
            for name in [name for name, value in here.items() if value is None]:
                del here[name]
            self._changed.notify_all()

    def preempt(self) -> None:
        """The VM is being preempted."""
        self._put("preempted", "TRUE")

    def move_to(self, zone: str) -> None:
        """It is in that zone."""
        self._put("zone", f"projects/123/zones/{zone}")

    def make_preemptible(self) -> None:
        """It is a Spot VM."""
        self._put("scheduling", {"preemptible": "TRUE"})

    def say_preempted(self, text: str) -> None:
        """Put anything at ``instance/preempted``."""
        self._put("preempted", text)

    def asked_for(self, path: str, *, waiting: bool) -> list[Asked]:
        """The requests for this path that came so far, those that wait or the others."""
        return [each for each in self.asked if each.path == path and each.waits == waiting]

    def _put(self, name: str, value: Any) -> None:
        with self._changed:
            self._tree["instance"][name] = value
            self._changed.notify_all()

    def answer(self, asked: Asked) -> tuple[int, str, bytes, str]:
        """Status, content type, body and etag; blocks as long as the request wants to wait."""
        if asked.waits and not self.troubles.never_waits:
            seconds = float(asked.query.get("timeout_sec", "3600"))
            with self._changed:
                self._changed.wait_for(
                    lambda: self._look_up(asked)[3] != asked.query.get("last_etag"), seconds
                )
        return self._look_up(asked)

    def _look_up(self, asked: Asked) -> tuple[int, str, bytes, str]:
        found: Any = self._tree
        for part in asked.path.strip("/").split("/"):
            if not isinstance(found, dict) or part not in found:
                return 404, "text/html", b"<html>not there</html>", ""
            found = found[part]
        # google.auth takes a token for a leaf.
        whole = asked.query.get("recursive", "").lower() == "true" or asked.path.endswith("token")
        if isinstance(found, dict) and not whole:
            body, kind = "".join(f"{name}\n" for name in found).encode(), "application/text"
        elif isinstance(found, dict):
            body, kind = json.dumps(found).encode(), "application/json"
        else:
            body, kind = str(found).encode(), "application/text"
        return 200, kind, body, hashlib.sha256(body).hexdigest()[:16]


class _Handler(BaseHTTPRequestHandler):
    metadata: MetadataServer

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        asked = Asked(url.path.removeprefix(_ROOT), dict(parse_qsl(url.query)))
        self.metadata.asked.append(asked)
        troubles = self.metadata.troubles
        time.sleep(troubles.delay)  # the trouble itself
        if self.headers.get("Metadata-Flavor") != "Google" or "X-Forwarded-For" in self.headers:
            self._send(403, "text/html", b"Missing Metadata-Flavor:Google header.", "")
        elif troubles.status != 200:
            self._send(troubles.status, "text/html", b"trouble", "")
        elif asked.path in troubles.missing:
            self._send(404, "text/html", b"not there", "")
        elif troubles.body is not None:
            self._send(200, "application/json", troubles.body, "garbage")
        else:
            self._send(*self.metadata.answer(asked))

    def _send(self, status: int, kind: str, body: bytes, etag: str) -> None:
        self.send_response(status)
        if not self.metadata.troubles.no_flavor:
            self.send_header("Metadata-Flavor", "Google")
        if etag:
            self.send_header("ETag", etag)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class' name
        """Nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who waited has gone."""


@contextmanager
def metadata_server(
    name: str = "vm-1", project: str = "portfire-local"
) -> Iterator[MetadataServer]:
    """A metadata server on a free port of this machine (`.host`) for a while."""
    metadata = MetadataServer(name, project)
    handler = type("Handler", (_Handler,), {"metadata": metadata})
    server = _Server(("127.0.0.1", 0), handler)
    metadata.host = f"127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield metadata
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
