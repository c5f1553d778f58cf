"""`portfire events`: what happens, as lines, and what is kept of it."""

from __future__ import annotations

import argparse
import sys
import threading
from typing import Any

from commands import options, recordings
from commands.signals import on_stop
from messaging.settings import PubSubSettings


def add(subparsers: Any) -> None:
    """Declare the command."""
    events = subparsers.add_parser(
        "events",
        help="print events as JSON lines; record and replay them",
        description="Print events as they happen, one JSON object a line, until stopped; or, with "
        "a command, keep them in a file and publish them again.",
    )
    events.add_argument(
        "--filter",
        default="",
        help="Pub/Sub filter over attributes type, job, executor and routing_key, such as "
        """'hasPrefix(attributes.type, "job.stage-in")'""",
    )
    options.add_pubsub(events)
    events.set_defaults(run=_run_events)
    recordings.add(events.add_subparsers(metavar="record|replay|delete-recording"))


def _run_events(args: argparse.Namespace) -> int:
    from events.commands import print_events

    stop = threading.Event()
    with on_stop(stop.set):
        print_events(options.settings(PubSubSettings, args), args.filter, sys.stdout, stop)
    return 0
