"""What tasks print, in the executor's log: logger ``portfire.task``, at DEBUG."""

from __future__ import annotations

import logging

from executor.held_job import HeldJob
from executor.records import TaskOutput

#: Told apart from the executor's own, so that whoever wants one need not have the other.
TASK_LOGGER = "portfire.task"

log = logging.getLogger(TASK_LOGGER)


class TaskLog:
    """Writes the lines of an executor's jobs. Thread-safe."""

    def __init__(self, executor: str, pool: str) -> None:
        self._labels = {"executor": executor, "pool": pool}

    def turn_on(self) -> None:
        """The logger takes them, whatever its level was."""
        log.setLevel(logging.DEBUG)

    @property
    def wanted(self) -> bool:
        """Whether anybody reads it now."""
        return log.isEnabledFor(logging.DEBUG)

    def write(self, held: HeldJob, output: TaskOutput) -> None:
        """Each line, as ``JOB: LINE``, with ``job``, ``job_name``, ``stream``... on the record."""
        labels = {**self._labels, **held.log_labels()}
        if output.dropped:
            text = "%s: %d lines left out here: more than the log takes"
            log.debug(text, held.id, output.dropped, extra={**labels, "stream": ""})
        for stream, line in output.lines:
            log.debug("%s: %s", held.id, line, extra={**labels, "stream": stream})
