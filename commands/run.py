"""`portfire run`: all that a LaunchPad holds, on this machine; like `rlaunch rapidfire`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from commands import launchpads, options


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "run",
        help="run all that a LaunchPad holds, on this machine",
        description="Run every READY Firework of the LaunchPad, and what becomes READY as parents "
        "finish, with N slots on this machine, until nothing is left to run. Without a "
        "my_launchpad.yaml the embedded LaunchPad under .portfire/ is used.",
    )
    options.add_launchpad(parser)
    parser.add_argument("--threads", type=int, metavar="N", help="slots (env THREADS; cores)")
    parser.add_argument("--workdir", metavar="DIR", help="where launch directories are made")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    parser.add_argument(
        "--events",
        dest="events_file",  # the setting of an executor is `events`
        type=Path,
        metavar="FILE",
        help="keep all events of this run in FILE, made anew, for `portfire report FILE`",
    )
    options.add_settings_file(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run; 1 when a job failed, 130 when stopped before all was done."""
    from rich.console import Console

    from commands.kept_events import KeptEvents
    from commands.local_run import run_launchpad
    from commands.summary import as_json, print_summary
    from executor.settings import ExecutorSettings

    settings = options.settings(ExecutorSettings, args)
    kept = KeptEvents(args.events_file) if args.events_file else None
    try:
        result, records = run_launchpad(
            lambda: launchpads.open_source(args, allow_embedded=True),
            settings,
            on_event=kept.keep if kept else None,
        )
    finally:
        if kept is not None:
            kept.close()
    if args.json:
        print(as_json(result, records))
    else:
        print_summary(Console(file=sys.stdout, soft_wrap=True), result, records)
    if result.counts.fizzled:
        return 1
    return 130 if result.stopped else 0  # 130: as of a program that SIGINT ended
