"""`portfire dispatcher`: claims from a LaunchPad, publishes jobs, applies results."""

from __future__ import annotations

import argparse
import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commands import launchpads, options
from commands.collector import collect_seldom
from commands.logs import setup as logs
from commands.signals import on_stop
from messaging.errors import UsageError

if TYPE_CHECKING:
    from dispatcher.daemon import Dispatcher
    from dispatcher.settings import DispatcherSettings

log = logging.getLogger(__name__)


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "dispatcher",
        help="feed executors from a FireWorks LaunchPad",
        description="Claim READY Fireworks, publish them as jobs, apply what executors report. "
        "Runs until stopped; what is in flight goes on, and other dispatchers, or the next one, "
        "take it over. Several may run at once and share the work. `status` shows how they and the "
        "executors are; `repair` finds and mends what killed processes left in the LaunchPad.",
    )
    options.add_launchpad(parser)
    options.add_pubsub(parser)
    parser.add_argument("--pool", help="pool of executors to feed (env PORTFIRE_POOL)")
    parser.add_argument(
        "--max-in-flight",
        type=int,
        metavar="N",
        help="jobs claimed ahead (by default as many as the slots of executors ask for)",
    )
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
    logs.add_flags(parser)
    parser.add_argument("--json", action="store_true", help="with status: as JSON")
    parser.add_argument(
        "--after",
        type=float,
        default=10.0,
        metavar="SECONDS",
        help="with repair: break locks of FireWorks' own that stand for so long (10)",
    )
    parser.add_argument(
        "--force", action="store_true", help="with repair: break them at once; no lpad may run"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="with repair: only say what is wrong"
    )
    parser.add_argument(
        "words",
        nargs="*",
        metavar="status | repair | SETTINGS.yml",
        help="what to do instead of dispatching; settings in YAML (examples/settings.yml explains "
        "them); flags and environment variables go before it",
    )
    parser.set_defaults(run=run, speaks=True)


def run(args: argparse.Namespace) -> int:
    """Dispatch until stopped, or drained; 1 when a job failed in a drained run."""
    words = list(args.words)
    command = words.pop(0) if words and words[0] in ("status", "repair") else ""
    if len(words) > 1:
        raise UsageError(f"one settings file is enough: {' '.join(words)}")
    args.settings_file = Path(words[0]) if words else None
    if command == "status":
        from commands.dispatcher_status import status

        return status(args)
    if command == "repair":
        from commands.dispatcher_repair import repair

        return repair(args)
    return _dispatch(args)


def _dispatch(args: argparse.Namespace) -> int:
    # Its VM's attributes are not its settings: it is no part of a fleet.
    with logs.daemon_log(args, logs.vm_that_logs(args), on_vm=False) as daemon_log:
        return _dispatch_and_log(args, daemon_log)


def _dispatch_and_log(args: argparse.Namespace, daemon_log: logs.DaemonLog) -> int:
    from dispatcher.settings import DispatcherSettings

    daemon_log.check()
    settings = options.settings(DispatcherSettings, args)
    daemon_log.identify(pool=settings.pool)
    source = launchpads.open_source(args, allow_embedded=False)
    dispatchers = _Dispatchers(settings, source)
    with on_stop(dispatchers.stop):
        fizzled = dispatchers.run()
    return 1 if settings.drain and fizzled else 0


class _Dispatchers:
    """One dispatcher after the other: one that was taken for dead must begin anew."""

    def __init__(self, settings: DispatcherSettings, source: launchpads.Source) -> None:
        self._settings = settings
        self._source = source
        self._lock = threading.Lock()  # guards what follows
        self._stopping = False
        self._present: Dispatcher | None = None

    def stop(self) -> None:
        """Stop the present one, and begin no more. Thread-safe."""
        with self._lock:
            self._stopping = True
            if self._present is not None:
                self._present.stop()

    def run(self) -> int:
        """Dispatch until stopped, or drained; how many jobs failed."""
        from dispatcher.roster import MembershipLostError

        fizzled = 0
        collect_seldom()
        while dispatcher := self._next():
            try:
                dispatcher.run()
                self._stopping = True
            except MembershipLostError as exc:
                log.warning("%s; beginning anew", exc)
            fizzled += dispatcher.counts.fizzled
        return fizzled

    def _next(self) -> Dispatcher | None:
        from dispatcher.daemon import Dispatcher

        settings, source = self._settings, self._source
        with self._lock:
            if self._stopping:
                return None
            pubsub = settings.connect()
            self._present = Dispatcher(settings, source.launchpad, source.fworker, pubsub)
            return self._present
