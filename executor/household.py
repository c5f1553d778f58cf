"""What the slots of an executor share on its machine: the workdir, the engine, the log."""

from __future__ import annotations

import logging
from pathlib import Path

from executor.containers.finding import remove_all, remove_containers
from executor.containers.residents import Residence
from executor.failures import one_line
from executor.files.places import JobPlaces
from executor.held_job import HeldJobs
from executor.housekeeping import Housekeeping
from executor.records import ChildOptions
from executor.settings import ExecutorSettings
from executor.task_log import TaskLog
from messaging.errors import PortfireError

log = logging.getLogger(__name__)

#: Directory in the workdir, shared by the executors there, in which pulls of images take turns.
_IMAGE_TURNS = ".portfire/pulls"


class Household:
    """One executor's place on its machine. `enter` first, `leave` last."""

    def __init__(self, settings: ExecutorSettings, workdir: Path, jobs: HeldJobs) -> None:
        self._settings = settings
        self._workdir = workdir
        self._residence = Residence(workdir, settings.executor_id)
        #: The jobs' directories.
        self.places = JobPlaces(
            workdir,
            self._residence,
            executor=settings.executor_id,
            prefix=settings.prefix,
            keep=settings.keep_directories,
        )
        #: Who clears up now and then.
        self.housekeeping = Housekeeping(
            settings.heartbeat_seconds, executor=settings.executor_id, workdir=workdir, jobs=jobs
        )
        #: Where the lines of tasks go.
        self.task_log = TaskLog(settings.executor_id, settings.pool)

    def enter(self) -> None:
        """Make the executor known to others. Raises UsageError."""
        if self._settings.log_tasks:
            self.task_log.turn_on()
        self._residence.enter(lambda executor: remove_containers(executor=executor))

    def leave(self) -> None:
        """It leaves nothing behind. Idempotent."""
        clean = True
        if self.housekeeping.engine_is_used:
            try:
                remove_all(executor=self._settings.executor_id)
            except PortfireError as exc:
                log.warning("containers are left to the next executor here: %s", one_line(exc))
                clean = False
        self._residence.leave(clean=clean)

    def child_options(self, slot: int) -> ChildOptions:
        """What the child processes of a slot are to know."""
        settings = self._settings
        return ChildOptions(
            executor=settings.executor_id,
            thread=slot,
            storage=settings.storage,
            storage_options=settings.storage_options,
            job_timeout=settings.job_timeout,
            prefix=settings.prefix,
            policy=settings.policy,
            stop_grace=settings.stop_grace,
            container_network=settings.container_network or None,
            image_turns=self._workdir / _IMAGE_TURNS,
            warm_place=self._residence.directory,
            samples=settings.samples and settings.events,
        )
