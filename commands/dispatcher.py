"""`portfire dispatcher`: claims from a LaunchPad, publishes jobs, applies results."""

from __future__ import annotations

import argparse
from typing import Any

from commands import launchpads, options
from commands.signals import on_stop


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "dispatcher",
        help="feed executors from a FireWorks LaunchPad",
        description="Claim READY Fireworks, publish them as jobs, apply what executors report. "
        "Runs until stopped; what is in flight goes on, and the next dispatcher takes it over.",
    )
    options.add_launchpad(parser)
    options.add_pubsub(parser)
    parser.add_argument("--pool", help="pool of executors to feed (env PORTFIRE_POOL)")
    parser.add_argument("--max-in-flight", type=int, metavar="N", help="jobs claimed ahead (1000)")
    parser.add_argument(
        "--drain", action="store_true", default=None, help="stop when nothing is left to run"
    )
    parser.add_argument(
        "--no-create",
        dest="create",
        action="store_false",
        default=None,
        help="do not create topics and subscriptions (for those without that right)",
    )
    options.add_settings_file(parser)
    parser.set_defaults(run=run, speaks=True)


def run(args: argparse.Namespace) -> int:
    """Dispatch until stopped, or drained; 1 when a job failed in a drained run."""
    from dispatcher.settings import DispatcherSettings

    settings = options.settings(DispatcherSettings, args)
    source = launchpads.open_source(args, allow_embedded=False)
    from dispatcher.daemon import Dispatcher

    dispatcher = Dispatcher(settings, source.launchpad, source.fworker, settings.connect())
    with on_stop(dispatcher.stop):
        counts = dispatcher.run()
    return 1 if settings.drain and counts.fizzled else 0
