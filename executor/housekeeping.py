"""Clears up what others left: dead executors of this workdir, and an engine that was too slow."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from executor.containers.finding import remove_all, remove_unheld
from executor.containers.residents import reap
from executor.held_job import HeldJobs

log = logging.getLogger(__name__)


class Housekeeping:
    """One thread that clears up at its start, and every `seconds`, until stopped.

    It has a thread of its own because an engine may be slow. Its death is no reason to stop.
    """

    def __init__(self, seconds: float, *, executor: str, workdir: Path, jobs: HeldJobs) -> None:
        self._seconds = seconds
        self._executor = executor
        self._workdir = workdir
        self._jobs = jobs
        #: Whether a job has made a container, so that there may be some to look after.
        self.engine_is_used = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="housekeeping", daemon=True)

    def start(self) -> None:
        """Start clearing up."""
        self._thread.start()

    def stop(self, timeout: float = 2.0) -> None:
        """Stop; what it waits for may outlast `timeout`."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def note_engine(self) -> None:
        """A job is going to make a container."""
        self.engine_is_used = True

    def clear_up(self) -> None:
        """Once; never raises. May block for some tens of seconds."""
        reap(self._workdir, lambda executor: remove_all(executor=executor))
        if self.engine_is_used:
            count = remove_unheld(self._executor, self._held)
            if count:
                log.warning("removed %d containers of jobs that ended before", count)

    def _held(self) -> set[tuple[str, int]]:
        return {(held.id, held.attempt) for held in self._jobs.all()}

    def _run(self) -> None:
        try:
            while True:
                self.clear_up()
                if self._stopping.wait(self._seconds):
                    return
        except Exception:
            log.exception("housekeeping died")
