"""`portfire monitor`: what runs, where and how fast; in a browser, on a terminal or as lines."""

from __future__ import annotations

import argparse
import os
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from commands import options
from commands.signals import on_stop
from messaging.errors import UsageError
from messaging.settings import PubSubSettings

if TYPE_CHECKING:
    from bokeh.document import Document

    from events.dashboard.server import DashboardServer

_DEFAULT_PORT = 8790
_MAX_PORT = 65_535
_MIN_INTERVAL = 0.1
_EXTRA = "the live page needs the package bokeh: pip install 'portfire[monitor]' (or: --text)"


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "monitor",
        help="watch jobs and executors live: a web page, or --text",
        description="Show what runs and waits, a timeline of all slots, throughput, failures and "
        "executors, live, until stopped: as a web page whose address is printed, with --text as a "
        "table on the terminal (in a pipe: a line every few seconds), with --json as snapshots.",
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to serve at (127.0.0.1: this machine only; elsewhere a token is asked for)",
    )
    parser.add_argument(
        "--port", type=int, default=_DEFAULT_PORT, help=f"({_DEFAULT_PORT}; 0: any free one)"
    )
    parser.add_argument(
        "--token",
        help="what a browser must bring along (default: a new one when --host is not this machine "
        "only; env PORTFIRE_MONITOR_TOKEN)",
    )
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument("--text", action="store_true", help="a table on the terminal instead")
    forms.add_argument("--json", action="store_true", help="snapshots as JSON lines instead")
    parser.add_argument(
        "--every",
        type=float,
        default=5.0,
        metavar="SECONDS",
        help="between lines of --json, and of --text in a pipe (5)",
    )
    options.add_pubsub(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Watch until SIGINT or SIGTERM."""
    if args.every < _MIN_INTERVAL:
        raise UsageError(f"--every is {args.every}: expected at least {_MIN_INTERVAL} seconds")
    settings = options.settings(PubSubSettings, args)
    return _lines(args, settings) if args.text or args.json else _page(args, settings)


def _lines(args: argparse.Namespace, settings: PubSubSettings) -> int:
    from rich.console import Console

    from events.dashboard.session import following
    from events.dashboard.text import print_snapshots, watch_table

    stop = threading.Event()
    console = Console()
    with on_stop(stop.set), following(settings) as feed:
        if args.text and console.is_terminal:
            watch_table(feed, console, stop)
        else:
            print_snapshots(feed, sys.stdout, stop, args.every, as_json=args.json)
    return 0


def _page(args: argparse.Namespace, settings: PubSubSettings) -> int:
    if not 0 <= args.port <= _MAX_PORT:
        raise UsageError(f"--port is {args.port}: expected 0 to {_MAX_PORT}")
    try:
        import bokeh  # noqa: F401 - only to see whether it is there
    except ImportError as exc:
        raise UsageError(_EXTRA) from exc
    from events.dashboard.page import Page
    from events.dashboard.session import following

    with following(settings) as feed:
        place = _place(settings)
        server = _server(args, lambda document: Page(document, feed, place))
        with on_stop(server.stop):
            server.run(on_ready=_announce)
    return 0


def _server(args: argparse.Namespace, make_page: Callable[[Document], object]) -> DashboardServer:
    from events.dashboard.access import is_loopback, new_token
    from events.dashboard.server import DashboardServer

    token = args.token or os.environ.get("PORTFIRE_MONITOR_TOKEN")
    if token is None and not is_loopback(args.host):
        token = new_token()
    return DashboardServer(make_page, args.host, args.port, token)


def _announce(address: str) -> None:
    print(f"monitor: {address}", flush=True)


def _place(settings: PubSubSettings) -> str:
    where = settings.emulator_host or settings.project
    return f"{where}, topics {settings.prefix}-…"
