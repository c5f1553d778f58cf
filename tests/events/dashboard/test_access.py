"""Who may look: the token and its lack, for page and websocket alike."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests
from bokeh.document import Document

from events.dashboard.access import is_loopback
from events.dashboard.feed import Feed
from events.dashboard.server import DashboardServer
from messaging.errors import UsageError
from tests.events.dashboard.serving import served

_UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Protocol": "bokeh, nothing",
}
_TOKEN = "a-token"


@pytest.fixture
def guarded() -> Iterator[str]:
    """A dashboard with a token; its address without it."""
    with served(Feed(), token=_TOKEN, make_page=_nothing) as address:
        yield address.partition("?")[0]


@pytest.fixture
def local() -> Iterator[str]:
    """A dashboard at loopback without a token."""
    with served(Feed(), make_page=_nothing) as address:
        yield address


def test_the_page_wants_the_token(guarded: str) -> None:
    assert _status(guarded, token=_TOKEN) == 200
    assert _status(guarded) == 403
    assert _status(guarded, token="another") == 403
    assert _status(guarded, token="\u00e9") == 403


@pytest.mark.parametrize("path", ["ws", "autoload.js", "metadata"])
def test_all_that_shows_data_wants_the_token(guarded: str, path: str) -> None:
    headers = _UPGRADE if path == "ws" else {}
    assert _status(f"{guarded}{path}", headers=headers) == 403
    assert _status(f"{guarded}{path}", headers=headers, token="another") == 403


def test_the_websocket_opens_with_the_token(guarded: str) -> None:
    assert _status(f"{guarded}ws", headers=_UPGRADE, token=_TOKEN) == 101


def test_a_site_of_the_internet_cannot_look_in_through_the_browser(local: str) -> None:
    assert _status(local) == 200
    assert _status(local, headers={"Host": "rebound.example"}) == 403
    tunnel = {**_UPGRADE, "Origin": "http://localhost:9999"}
    assert _status(f"{local}ws", headers=tunnel) == 101
    foreign = {**_UPGRADE, "Origin": "https://site.example"}
    assert _status(f"{local}ws", headers=foreign) == 403


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("localhost.example", False),
        ("", False),
    ],
)
def test_loopback_is_told_from_elsewhere(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_a_taken_port_is_an_error_in_one_line(local: str) -> None:
    port = int(local.rstrip("/").rpartition(":")[2])
    with pytest.raises(UsageError, match=rf"cannot serve at 127.0.0.1:{port}: .*--port") as error:
        DashboardServer(_nothing, "127.0.0.1", port).run()
    assert "\n" not in str(error.value)


def test_a_server_that_was_stopped_before_it_ran_returns_at_once() -> None:
    server = DashboardServer(_nothing, "127.0.0.1", 0)
    server.stop()
    server.run()


def _nothing(_document: Document) -> None:
    pass


def _status(address: str, token: str | None = None, headers: dict[str, str] | None = None) -> int:
    parameters = {} if token is None else {"token": token}
    with requests.get(
        address, params=parameters, headers=headers, timeout=30, stream=True
    ) as response:
        return response.status_code
