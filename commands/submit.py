"""`portfire submit`: raw HyperFlow jobs, without FireWorks."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from commands import options
from messaging.settings import PubSubSettings


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "submit",
        help="send raw HyperFlow jobs",
        description="Send raw (HyperFlow) jobs to the executors of a pool, and print the replies "
        "as JSON lines with --wait, else the job ids. With TRACEPARENT in the environment they are "
        "a part of that trace.",
    )
    parser.add_argument(
        "files", nargs="+", metavar="JOB.json", help="a job or a list of jobs; - for JSON lines"
    )
    parser.add_argument("--wait", action="store_true", help="wait for the replies, print them")
    parser.add_argument("--timeout", type=float, metavar="SECONDS", help="wait so long at most")
    parser.add_argument("--pool", default="default", help="pool of executors (default)")
    options.add_pubsub(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Send; 1 when a reply tells of a failure."""
    from events.exporters import trace_context
    from messaging.submit import read_jobs, submit

    settings = options.settings(PubSubSettings, args)
    jobs = read_jobs(args.files, sys.stdin)
    failed = False
    trace = trace_context.of_environment(os.environ)
    with settings.connect() as pubsub:
        replies = submit(
            pubsub,
            settings.names,
            jobs,
            args.wait,
            args.timeout,
            pool=args.pool,
            traceparent=trace,
        )
        for reply in replies:
            print(reply.encode().decode(), flush=True)
            failed = failed or reply.exit_status != 0
    if not args.wait:
        for _, job_id in jobs:
            print(job_id)
    return 1 if failed else 0
