"""Requests of our own to Cloud Storage: tokens, and connections that are used again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from google.auth.credentials import Credentials

from storage_backends.errors import StorageDeniedError
from storage_backends.gcs.connection import GcsConnection


class Tokens(Credentials):
    """Credentials whose first token the server has withdrawn; each refresh gives the next one."""

    def __init__(self) -> None:
        super().__init__()
        self.token = "token-1"

    def refresh(self, request: Any) -> None:
        del request
        self.token = f"token-{int(self.token.removeprefix('token-')) + 1}"


class Connection(GcsConnection):
    """With those credentials also for a server without TLS."""

    def _credentials(self) -> Credentials:
        return Tokens()


class Server(ThreadingHTTPServer):
    """Answers only who has the token `wanted`; counts connections."""

    wanted = "token-2"
    connections = 0

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections += 1
        super().process_request(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """Says what it was asked and sent."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        sent = self.rfile.read(int(self.headers["Content-Length"]))
        allowed = self.headers["Authorization"] == f"Bearer {self.server.wanted}"
        body = f"{self.path} {sent.decode()}".encode()
        self.send_response(200 if allowed else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class' name
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def connection(server: Server) -> Iterator[Connection]:
    connected = Connection("project", "http://{}:{}".format(*server.server_address), 1)
    yield connected
    connected.close()


def test_a_token_that_was_withdrawn_is_replaced_and_the_request_sent_again(
    connection: Connection,
) -> None:
    answer = connection.request(
        "POST", "/o", params={"name": "a b/ü", "n": 0}, data=b"content", expected=(200,)
    )
    assert answer.text == "/o?name=a+b%2F%C3%BC&n=0 content"


def test_what_is_refused_with_a_new_token_too_is_denied(
    server: Server, connection: Connection
) -> None:
    server.wanted = "another"
    with pytest.raises(StorageDeniedError, match="does not know these credentials"):
        connection.request("POST", "/o", data=b"", expected=(200,))


def test_one_connection_serves_one_request_after_another(
    server: Server, connection: Connection
) -> None:
    for _ in range(3):
        connection.request("POST", "/o", data=b"", expected=(200,))
    # One more is opened in place of that whose answer nobody read, the withdrawn token's.
    assert server.connections <= 2
