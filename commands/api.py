"""What Python programs call to run a LaunchPad."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commands.embedded_launchpad import DEFAULT_FILE
from commands.launchpads import Source, open_files
from commands.local_run import RunResult
from commands.local_run import run_launchpad as run_source

if TYPE_CHECKING:
    from events.metrics import JobMetrics


def run_launchpad(
    launchpad: str | Path | Any | None = None,
    *,
    fworker: str | Path | None = None,
    **settings: Any,
) -> tuple[RunResult, Sequence[JobMetrics]]:
    """Run all that a LaunchPad holds on this machine, until nothing is left to run.

    `launchpad` is a my_launchpad.yaml, a FireWorks LaunchPad object, or None for the embedded one
    under ``.portfire/`` (then FireWorks must not have been imported before). `fworker` is a
    my_fworker.yaml. `settings` are fields of `executor.settings.ExecutorSettings`, such as
    ``threads=2`` or ``storage="nfs"``. Returns counts, seconds and one record for each job. Raises
    UsageError for wrong files and settings, PortfireError when a service does not answer. Handles
    SIGINT and SIGTERM as the command does, so it must be called from the main thread.
    """
    from executor.settings import ExecutorSettings
    from messaging.settings import load

    fworker_file = Path(fworker) if fworker is not None else None

    def open_source() -> Source:
        if launchpad is None or isinstance(launchpad, str | Path):
            file = Path(launchpad) if launchpad is not None else None
            return open_files(file, fworker_file, None if file else DEFAULT_FILE)
        from dispatcher.launchpad import load_fworker

        return Source(launchpad=launchpad, fworker=load_fworker(fworker_file))

    return run_source(open_source, load(ExecutorSettings, flags=settings))
