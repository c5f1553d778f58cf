"""The web server of the live page: Bokeh's, bound, guarded by a token, and stopped in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable
from urllib.parse import quote

from bokeh.application import Application
from bokeh.application.handlers.function import FunctionHandler
from bokeh.document import Document
from bokeh.server.server import Server
from tornado.ioloop import IOLoop

from events.dashboard.access import TOKEN_PARAMETER, Access
from messaging.errors import UsageError

#: Seconds after which a session that no browser shows any more is forgotten.
_UNUSED_SESSION_SECONDS = 5.0
#: Seconds between looks for such sessions.
_CHECK_SESSIONS_SECONDS = 2.0


class DashboardServer:
    """Serves `make_page`, which fills a new document for each browser that opens the page.

    `run` serves in the calling thread, which is where `make_page` and all callbacks of documents
    run; `stop` may be called from any thread. `address` is set once `wait_ready` has returned.
    """

    def __init__(
        self,
        make_page: Callable[[Document], object],
        host: str,
        port: int,
        token: str | None = None,
    ) -> None:
        """Nothing is bound yet. Port 0 takes a free one; no `token`: everybody may look."""
        self.address = ""
        self._make_page = make_page
        self._host = host
        self._port = port
        self._token = token
        self._ready = threading.Event()
        self._stopping = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop_serving: asyncio.Event | None = None

    def run(self, on_ready: Callable[[str], None] | None = None) -> None:
        """Serve until `stop`; `on_ready` is called with the address to open.

        Raises UsageError when the address cannot be bound.
        """
        _quieten()
        asyncio.run(self._serve(on_ready))

    def wait_ready(self, timeout: float) -> bool:
        """Whether it serves, within so many seconds."""
        return self._ready.wait(timeout)

    def stop(self) -> None:
        """Make `run` return. Idempotent, from any thread, also before it serves."""
        self._stopping.set()
        loop, serving = self._loop, self._stop_serving
        if loop is not None and serving is not None:
            # A RuntimeError: the loop is closed, so it has stopped already.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(serving.set)

    async def _serve(self, on_ready: Callable[[str], None] | None) -> None:
        self._stop_serving = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        server = self._bind()
        server.start()
        try:
            self.address = self._address(server.port)
            self._ready.set()
            if on_ready is not None:
                on_ready(self.address)
            if not self._stopping.is_set():
                await self._stop_serving.wait()
        finally:
            server.stop()

    def _fill(self, document: Document) -> None:
        self._make_page(document)

    def _bind(self) -> Server:
        application = Application(FunctionHandler(self._fill))
        try:
            return Server(
                {"/": application},
                io_loop=IOLoop.current(),
                address=self._host,
                port=self._port,
                # `Access` looks at it, and at more.
                allow_websocket_origin=["*"],
                auth_provider=Access(self._token),
                unused_session_lifetime_milliseconds=int(_UNUSED_SESSION_SECONDS * 1000),
                check_unused_sessions_milliseconds=int(_CHECK_SESSIONS_SECONDS * 1000),
            )
        except OSError as exc:
            raise UsageError(
                f"cannot serve at {self._host}:{self._port}: {exc.strerror or exc}: choose "
                "another --host or --port (0: any free port)"
            ) from exc

    def _address(self, port: int | None) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        address = f"http://{host}:{port}/"
        return (
            f"{address}?{TOKEN_PARAMETER}={quote(self._token, safe='')}" if self._token else address
        )


def _quieten() -> None:
    # Bokeh tells of every browser that comes and goes; Tornado prints refused requests, with
    # whatever token they carried.
    logging.getLogger("bokeh").setLevel(logging.ERROR)
    logging.getLogger("tornado.access").setLevel(logging.CRITICAL)
