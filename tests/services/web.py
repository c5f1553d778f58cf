"""A web server with index pages: Python's own, in this process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves a directory; says nothing."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class' name
        """Nothing."""


class Server(ThreadingHTTPServer):
    """Takes as many connections at once as a pool of transfers opens."""

    daemon_threads = True
    request_queue_size = 128


@contextmanager
def serving(
    directory: Path, handler: type[SimpleHTTPRequestHandler] = QuietHandler, port: int = 0
) -> Iterator[str]:
    """The URL at which the files below `directory` are served for a while."""
    server = Server(("127.0.0.1", port), partial(handler, directory=str(directory)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
