"""`portfire metrics`: a line for each finished job, or figures for the tools that people have."""

from __future__ import annotations

import argparse
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commands import options
from commands.signals import on_stop
from messaging.errors import UsageError
from messaging.settings import PubSubSettings

if TYPE_CHECKING:
    from rich.status import Status

    from events.exporters.chosen import Choice
    from events.job_run import Counters


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "metrics",
        help="print one line per finished job; or feed Prometheus, StatsD, CSV, OpenTelemetry",
        description="Print a header and then one tab-separated line for each finished job: seconds "
        "and bytes of its phases, exit code, times. Or hand figures on to other tools; several of "
        "them may be named. Until stopped.",
    )
    _add_exporters(parser.add_argument_group("instead of lines"))
    parser.add_argument("-q", "--quiet", action="store_true", help="say nothing of what goes where")
    parser.add_argument(
        "--filter",
        default="",
        help="Pub/Sub filter over attributes type, job, executor and routing_key, such as "
        """'hasPrefix(attributes.type, "job.stage-in")'""",
    )
    options.add_pubsub(parser)
    parser.set_defaults(run=run)


def _add_exporters(group: Any) -> None:
    group.add_argument(
        "--prometheus",
        metavar="[HOST]:PORT",
        help="serve metrics at http://HOST:PORT/metrics, such as :9464 (this machine only, unless "
        "HOST says otherwise; 0.0.0.0: all)",
    )
    group.add_argument("--statsd", metavar="HOST[:PORT]", help="send metrics by UDP (port 8125)")
    group.add_argument(
        "--statsd-tags",
        action="store_true",
        help="labels as DogStatsD's tags rather than parts of names",
    )
    group.add_argument(
        "--csv", type=Path, metavar="FILE", help="append a row for each finished job to FILE"
    )
    group.add_argument(
        "--otlp",
        metavar="URL",
        help="send a trace for each job to an OpenTelemetry collector, such as "
        "http://localhost:4318",
    )


def run(args: argparse.Namespace) -> int:
    """Watch until SIGINT or SIGTERM."""
    if args.statsd_tags and not args.statsd:
        raise UsageError("--statsd-tags is without --statsd: say where to send to")
    settings = options.settings(PubSubSettings, args)
    choice = _choice(args, settings)
    stop = threading.Event()
    with on_stop(stop.set):
        if choice.any:
            _export(args, settings, choice, stop)
        else:
            from events.commands import print_metrics

            print_metrics(settings, args.filter, sys.stdout, stop)
    return 0


def _choice(args: argparse.Namespace, settings: PubSubSettings) -> Choice:
    from events.exporters.chosen import Choice

    return Choice(
        prometheus=args.prometheus,
        statsd=args.statsd,
        statsd_tags=args.statsd_tags,
        csv=args.csv,
        otlp=args.otlp,
        scope=f"{settings.project or ''}/{settings.prefix}",
    )


def _export(
    args: argparse.Namespace, settings: PubSubSettings, choice: Choice, stop: threading.Event
) -> None:
    from events.exporters.chosen import opened
    from events.exporters.collection import collect
    from events.subscriber import subscribe

    with ExitStack() as stack:
        exporters = stack.enter_context(opened(choice))
        subscription = stack.enter_context(subscribe(settings, filter=args.filter))
        if args.quiet:
            collect(subscription, exporters, stop)
            return
        for exporter in exporters:
            print(f"metrics: {exporter.where}", file=sys.stderr, flush=True)
        status = stack.enter_context(_status())
        collect(
            subscription, exporters, stop, on_round=lambda counters: status.update(_line(counters))
        )


def _status() -> Status:
    """A line at the end of a terminal; nothing elsewhere."""
    from rich.console import Console

    return Console(stderr=True).status("waiting for events", spinner="line")


def _line(counters: Counters) -> str:
    return (
        f"{counters.running:,} running, {counters.completed:,} completed, {counters.failed:,} "
        f"failed, {counters.ended - counters.completed - counters.failed:,} ended otherwise"
    )
