"""`portfire events` and `portfire metrics`: what happens, as lines, and what is kept of it."""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Callable
from typing import Any, TextIO

from commands import options, recordings
from commands.signals import on_stop
from messaging.settings import PubSubSettings

_Printer = Callable[[PubSubSettings, str, TextIO, threading.Event], None]


def add(subparsers: Any) -> None:
    """Declare both commands."""
    events = subparsers.add_parser(
        "events",
        help="print events as JSON lines; record and replay them",
        description="Print events as they happen, one JSON object a line, until stopped; or, with "
        "a command, keep them in a file and publish them again.",
    )
    metrics = subparsers.add_parser(
        "metrics",
        help="print one line per finished job",
        description="Print a header and then one tab-separated line for each finished job: "
        "seconds and bytes of its phases, exit code, times. Until stopped.",
    )
    for parser, run in ((events, _run_events), (metrics, _run_metrics)):
        parser.add_argument(
            "--filter",
            default="",
            help="Pub/Sub filter over attributes type, job, executor and routing_key, such as "
            """'hasPrefix(attributes.type, "job.stage-in")'""",
        )
        options.add_pubsub(parser)
        parser.set_defaults(run=run)
    recordings.add(events.add_subparsers(metavar="record|replay|delete-recording"))


def _run_events(args: argparse.Namespace) -> int:
    from events.commands import print_events

    return _watch(args, print_events)


def _run_metrics(args: argparse.Namespace) -> int:
    from events.commands import print_metrics

    return _watch(args, print_metrics)


def _watch(args: argparse.Namespace, printer: _Printer) -> int:
    stop = threading.Event()
    with on_stop(stop.set):
        printer(options.settings(PubSubSettings, args), args.filter, sys.stdout, stop)
    return 0
