"""The main job on one machine: broker and executor as child processes, the dispatcher here.

The parts are the same programs that run on a fleet, each in its own process, and talk through
Pub/Sub's API alone. The embedded broker is private to the run and ends with it.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from commands.collector import collect_seldom
from commands.launchpads import Source
from commands.local_processes import LocalProcesses, run_slot
from commands.signals import on_stop
from events.metrics import JobMetrics
from executor.settings import ExecutorSettings
from messaging.errors import PortfireError
from messaging.settings import load
from storage_backends.places.choice import Defaults, default_place

if TYPE_CHECKING:
    # Not at run time: these import FireWorks, which decides at import which database it uses.
    from dispatcher.counts import Counts
    from dispatcher.daemon import Dispatcher
    from events.types import Event

log = logging.getLogger(__name__)

#: Half a minute of trying again, not half an hour, where somebody waits for the end.
_FOR_ONE_WHO_WAITS = {"PORTFIRE_INFRASTRUCTURE_RETRIES": "5"}


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """How a run ended."""

    counts: Counts
    seconds: float
    #: Whether a signal ended the run before everything was done.
    stopped: bool = False
    #: Jobs given back because of that.
    given_back: int = 0
    #: The lpad command that looks at this LaunchPad.
    lpad: str = "lpad"


def run_launchpad(
    open_source: Callable[[], Source],
    settings: ExecutorSettings,
    on_record: Callable[[JobMetrics], None] | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> tuple[RunResult, Sequence[JobMetrics]]:
    """Run all that a LaunchPad holds with the executor that `settings` describe.

    `on_record` and `on_event` are called from another thread with every finished job and event.
    Ends when nothing is left to run, or at SIGINT or SIGTERM. Returns the counts and the records of
    (the first 10,000) jobs. Raises UsageError for wrong files and settings, PortfireError when the
    LaunchPad does not answer or a part cannot be kept alive. Main thread only.
    """
    from commands.progress import Monitor
    from events.subscriber import subscribe

    began = time.monotonic()
    # The line that shows what runs, and the summary, are made of events.
    settings = settings.model_copy(update={"events": True})
    # Before anything is started: a wrong name would only be told by the executor.
    default_place(Defaults(settings.storage, settings.storage_options), os.environ)
    with (
        run_slot(settings.workdir) as prefix,
        LocalProcesses(settings, prefix) as processes,
    ):
        address = processes.start_broker()
        # Before the LaunchPad is opened: both take a second to import FireWorks.
        processes.start_executor(address)
        source = open_source()
        here = settings.model_copy(update={"emulator_host": address, "prefix": prefix})
        monitor = Monitor(subscribe(here), on_record, on_event)
        try:
            dispatcher = _dispatcher(source, here)
            stopped = _dispatch(dispatcher, processes)
            given_back = dispatcher.give_back_waiting() if stopped else 0
            monitor.finish()
        finally:
            monitor.close()
            source.close()
    result = RunResult(
        counts=dispatcher.counts,
        seconds=time.monotonic() - began,
        stopped=stopped,
        given_back=given_back,
        lpad=source.lpad,
    )
    return result, monitor.records


def _dispatcher(source: Source, settings: ExecutorSettings) -> Dispatcher:
    from dispatcher.daemon import Dispatcher
    from dispatcher.settings import DispatcherSettings

    dispatcher_settings = load(
        DispatcherSettings,
        flags={
            "emulator_host": settings.emulator_host,
            "prefix": settings.prefix,
            "pool": settings.pool,
            "lease_seconds": settings.lease_seconds,
            "lost_seconds": 2.5 * settings.heartbeat_seconds,
            # Its executor died with it; and we hold the lock of its prefix.
            "predecessors_dead": True,
            "drain": True,
        },
        environ={**_FOR_ONE_WHO_WAITS, **os.environ},
    )
    return Dispatcher(dispatcher_settings, source.launchpad, source.fworker, settings.connect())


def _dispatch(dispatcher: Dispatcher, processes: LocalProcesses) -> bool:
    """Dispatch to the end; whether a signal made it end."""
    stopped = threading.Event()
    processes.on_failure = dispatcher.stop

    def stop_in_order() -> None:
        stopped.set()
        log.warning("stopping: running jobs may finish; once more to stop them at once")
        dispatcher.stop_claiming()
        processes.stop_executor()
        dispatcher.settle()

    with on_stop(stop_in_order, processes.hurry_executor):
        collect_seldom()
        dispatcher.run()
        if processes.failure:
            raise PortfireError(f"{processes.failure}: its message is above")
        processes.stop_executor()
    return stopped.is_set()
