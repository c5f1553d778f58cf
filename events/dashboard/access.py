"""Who may look: this machine's users at loopback, and elsewhere whoever has the token."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from bokeh.server.auth_provider import AuthProvider
from tornado.web import HTTPError, RequestHandler

#: The query parameter that carries the token, in the page's address and the websocket's.
TOKEN_PARAMETER = "token"
_TOKEN_BYTES = 24
_NO_TOKEN = "The token is missing or wrong: open the address that portfire monitor printed"
_NOT_LOCAL = (
    "Only pages of this machine may look in: open the address that portfire monitor printed"
)


def is_loopback(host: str) -> bool:
    """Whether only this machine's own programs reach a server at `host`."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.casefold() == "localhost"


def new_token() -> str:
    """A token that nobody guesses; safe in a URL."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


class Access(AuthProvider):
    """Refuses whoever may not look (403): page, websocket and all else that shows data.

    With a token: it must come along, and is compared in constant time. It travels in the address
    and never in a cookie, so a script of another site has none to send. Without: the page and the
    one who asks for it must be at a loopback address (at any port: an ssh tunnel changes it), so
    that no site of the internet looks in through this machine's browser, whatever its name is made
    to point to.

    The check is in Tornado's ``prepare``: before a websocket is opened, and the same for all.
    """

    def __init__(self, token: str | None) -> None:
        self._token = token.encode() if token else None
        super().__init__()

    @property
    def get_user_async(self) -> Callable[[RequestHandler], Awaitable[str]]:  # type: ignore[override]
        """The check, as Bokeh calls it with each request."""
        return self._check

    @property
    def login_url(self) -> str:
        """Never used, since the check answers or refuses; Bokeh wants one."""
        return "/"

    async def _check(self, handler: RequestHandler) -> str:
        if self._token is None:
            _check_local(handler)
        else:
            given = handler.get_query_argument(TOKEN_PARAMETER, "") or ""
            # Of bytes: compare_digest refuses text beyond ASCII.
            if not hmac.compare_digest(given.encode(errors="replace"), self._token):
                raise HTTPError(403, reason=_NO_TOKEN)
        return "watcher"


def _check_local(handler: RequestHandler) -> None:
    asked = urlsplit(f"//{handler.request.host}").hostname
    origin = handler.request.headers.get("Origin")
    by = urlsplit(origin).hostname if origin is not None else asked
    if not (asked and by and is_loopback(asked) and is_loopback(by)):
        raise HTTPError(403, reason=_NOT_LOCAL)
