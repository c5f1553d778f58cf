"""Portfire: runs FireWorks workflows through Pub/Sub. The `portfire` command and the Python API.

From Python::

    import portfire

    result, records = portfire.run_launchpad("my_launchpad.yaml", threads=2)
    executor = portfire.Executor(portfire.ExecutorSettings(threads=4, project="my-project"))
    executor.run()                        # until executor.stop() from another thread
    with portfire.subscribe(portfire.PubSubSettings(project="my-project")) as events:
        for event in events:
            print(event.type, event.timestamp)

The names are loaded when first used, so that ``portfire --help`` need not wait for FireWorks.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commands.logs.console import complain, log_to_stderr
from messaging.errors import PortfireError, UsageError

if TYPE_CHECKING:
    from commands.api import run_launchpad
    from dispatcher.daemon import Dispatcher
    from dispatcher.settings import DispatcherSettings
    from events.recording import read_events
    from events.subscriber import Subscription, subscribe
    from executor.daemon import Executor
    from executor.settings import ExecutorSettings
    from fleet.compute_engine import ComputeEngine
    from fleet.template import VmTemplate
    from messaging.settings import PubSubSettings

__all__ = [
    "ComputeEngine",
    "Dispatcher",
    "DispatcherSettings",
    "Executor",
    "ExecutorSettings",
    "PortfireError",
    "PubSubSettings",
    "Subscription",
    "UsageError",
    "VmTemplate",
    "main",
    "read_events",
    "run_launchpad",
    "subscribe",
]

_HOMES = {
    "ComputeEngine": "fleet.compute_engine",
    "Dispatcher": "dispatcher.daemon",
    "DispatcherSettings": "dispatcher.settings",
    "Executor": "executor.daemon",
    "ExecutorSettings": "executor.settings",
    "PubSubSettings": "messaging.settings",
    "VmTemplate": "fleet.template",
    "Subscription": "events.subscriber",
    "read_events": "events.recording",
    "run_launchpad": "commands.api",
    "subscribe": "events.subscriber",
}
_COMMANDS = (
    "run",
    "executor",
    "dispatcher",
    "broker",
    "submit",
    "watch",
    "metrics",
    "monitor",
    "report",
    "storage",
    "gce",
    "demo",
)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'portfire' has no attribute {name!r}")


def main(argv: Sequence[str] | None = None) -> int:
    """The `portfire` command; returns its exit code: 0 done, 1 failed, 2 wrong usage."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A name that the terminal's encoding lacks must not end a program.
            stream.reconfigure(errors="backslashreplace")
    if str(Path.cwd()) not in sys.path:
        # Tasks of one's own beside one's files are found, as with `python -m portfire`; last, so
        # that they hide no library.
        sys.path.append(str(Path.cwd()))
    args = _parser().parse_args(argv)
    # A daemon says on standard error that it runs and what befalls it; as a part of `run` it is
    # quiet like that.
    speaks = getattr(args, "speaks", False) and not getattr(args, "stop_with_parent", False)
    log_to_stderr(args.verbose + speaks)
    try:
        return int(args.run(args))
    except UsageError as exc:
        complain(exc)
        return 2
    except PortfireError as exc:
        complain(exc)
        return 1
    except BrokenPipeError:
        # Whoever read our output has gone; nor must the interpreter's end try to write to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="portfire", description="Run FireWorks workflows through Pub/Sub."
    )
    parser.add_argument(
        "-v", "--verbose", action="count", default=0, help="say more; twice: say everything"
    )
    parser.add_argument("--version", action="version", version=f"portfire {version('portfire')}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for name in _COMMANDS:
        importlib.import_module(f"commands.{name}").add(subparsers)
    return parser


if __name__ == "__main__":
    sys.exit(main())
