"""`portfire broker`: the embedded Pub/Sub broker as a process of its own."""

from __future__ import annotations

import argparse
import logging
import threading
from typing import Any

from commands.parent import add_parent_flag, obey_parent_flag
from commands.signals import on_stop
from messaging.errors import UsageError

log = logging.getLogger(__name__)


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "broker",
        help="run the embedded Pub/Sub broker",
        description="Serve Google Pub/Sub's API on this machine, in memory, until stopped. "
        "Prints the environment variable that makes clients use it.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (loopback)")
    parser.add_argument("--port", type=int, default=8085, help="port, 0 for a free one (8085)")
    add_parent_flag(parser)
    parser.set_defaults(run=run, speaks=True)


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT."""
    from messaging.broker import Broker

    obey_parent_flag(args)
    if not 0 <= args.port <= 65535:
        raise UsageError(f"--port is {args.port}: ports are numbers from 0 to 65535")
    stopped = threading.Event()
    broker = Broker(host=args.host, port=args.port)
    with on_stop(stopped.set):
        broker.start()
        print(f"export PUBSUB_EMULATOR_HOST={broker.address}", flush=True)
        log.info("the broker serves until Ctrl-C")
        stopped.wait()
        broker.stop()
    return 0
