"""A dashboard that serves a feed from a thread of the test's."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bokeh.document import Document

from events.dashboard.feed import Feed
from events.dashboard.page import Page
from events.dashboard.server import DashboardServer


@contextmanager
def served(
    feed: Feed,
    *,
    token: str | None = None,
    make_page: Callable[[Document], object] | None = None,
    place: str = "a test",
) -> Iterator[str]:
    """The address of the page within the block."""

    def fill(document: Document) -> None:
        (make_page or (lambda given: Page(given, feed, place)))(document)

    server = DashboardServer(fill, "127.0.0.1", 0, token)
    thread = threading.Thread(target=server.run, name="dashboard", daemon=True)
    thread.start()
    assert server.wait_ready(30), "the dashboard does not serve"
    try:
        yield server.address
    finally:
        server.stop()
        thread.join(timeout=30)
        assert not thread.is_alive(), "the dashboard did not stop"
