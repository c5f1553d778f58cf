"""`portfire executor`: the daemon that runs jobs."""

from __future__ import annotations

import argparse
import logging
import sys
from typing import Any

from commands import options
from commands.parent import add_parent_flag, obey_parent_flag
from commands.signals import on_stop


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "executor",
        help="run jobs from a pool",
        description="Pull jobs, stage their inputs in, run them, stage outputs out, report. Needs "
        "only environment variables: THREADS, STORAGE, PUBSUB_EMULATOR_HOST or "
        "GOOGLE_CLOUD_PROJECT, PORTFIRE_POOL, PORTFIRE_WORKDIR, PORTFIRE_PREFIX. SIGTERM stops it "
        "in order: running jobs may finish, what remains is given back; a second one at once.",
    )
    options.add_pubsub(parser)
    parser.add_argument("--threads", type=int, metavar="N", help="slots (env THREADS; cores)")
    parser.add_argument("--storage", help="storage, or its URL (env STORAGE; local)")
    parser.add_argument("--pool", help="pool to take jobs from (env PORTFIRE_POOL; default)")
    parser.add_argument("--workdir", metavar="DIR", help="launch directories (PORTFIRE_WORKDIR)")
    parser.add_argument(
        "--log-tasks",
        action="store_true",
        default=None,
        help="log what containers print (PORTFIRE_LOG_TASKS)",
    )
    options.add_settings_file(parser)
    add_parent_flag(parser)
    parser.set_defaults(run=run, speaks=True)


def run(args: argparse.Namespace) -> int:
    """Run jobs until stopped."""
    from executor.daemon import Executor
    from executor.settings import ExecutorSettings

    obey_parent_flag(args)
    settings = options.settings(ExecutorSettings, args)
    if settings.log_tasks:
        _show_tasks()
    executor = Executor(settings)
    with on_stop(
        lambda: executor.request_stop("got a signal"),
        lambda: executor.request_stop("got a second signal", now=True),
    ):
        executor.run()
    return 0


def _show_tasks() -> None:
    """Lines of tasks go to standard error too, although they are below the others' level."""
    from executor.task_log import TASK_LOGGER

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s TASK %(message)s"))
    logger = logging.getLogger(TASK_LOGGER)
    logger.addHandler(handler)
    logger.propagate = False
