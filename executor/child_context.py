"""What a job in a slot's child process may ask of its executor."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from executor.context import JobContext
from executor.interruption import CLEAN_UP_SECONDS
from executor.records import UNSENDABLE, ContainerBegins, RunLaunch, RunRaw, TaskEvent, TaskOutput
from executor.warm.containers import WarmContainers
from storage_backends.contract import StorageBackend
from storage_backends.registry import backend_name, open_backend
from storage_backends.service.client import RemoteBackend

if TYPE_CHECKING:
    from executor.child import Child


class ChildContext(JobContext):
    """What a task in this child may ask of its executor."""

    def __init__(self, child: Child, record: RunLaunch | RunRaw) -> None:
        options = child.options
        if isinstance(record, RunLaunch):
            self.job, self.attempt = record.job.job, record.job.attempt
            self.memory_step = record.job.memory_step
        else:
            self.job, self.attempt, self.memory_step = record.job_id, 1, 0
        self.executor = options.executor
        self.thread = options.thread
        self.storage = options.storage
        self.storage_options: Mapping[str, Any] = options.storage_options
        self.default_timeout = options.job_timeout
        self.prefix = options.prefix
        self.policy = options.policy
        self.stop_grace = options.stop_grace
        self.container_network = options.container_network
        self.image_turns = options.image_turns
        self.wants_output = options.log_output
        self.samples = options.samples
        #: Phase that failed, by the events; for raw jobs.
        self.failed_phase: str | None = None
        self._child = child
        self._opened: list[StorageBackend] = []

    def emit(self, event_type: str, **fields: Any) -> None:
        """Hand the event to the executor, which publishes it."""
        if fields.get("error") and event_type.endswith(".finished"):
            self.failed_phase = event_type.removeprefix("job.").removesuffix(".finished")
        fields.setdefault("timestamp", time.time())
        # A value that cannot be pickled loses its event, not the job.
        with contextlib.suppress(*UNSENDABLE, OSError):
            self._child.post(TaskEvent(event_type, fields))

    @property
    def warm(self) -> WarmContainers | None:
        """See JobContext."""
        return self._child.warm

    def container_begins(self, stop_grace: float) -> None:
        """Let whoever stops the job be patient, and the executor look after its engine."""
        self._child.patience = stop_grace + CLEAN_UP_SECONDS
        with contextlib.suppress(OSError):
            self._child.send(ContainerBegins(stop_grace))

    def task_output(self, lines: list[tuple[str, str]], dropped: int) -> None:
        """Hand the lines to the executor, which logs them."""
        with contextlib.suppress(OSError):
            self._child.send(TaskOutput(lines, dropped))

    def confirm_lease(self) -> None:
        """Raise JobInterrupted unless the executor still holds the job's lease."""
        if not self._child.may_store():
            self._child.interruption.interrupt("the lease is lost or the job was stopped")

    def open_storage(self, name: str, options: Mapping[str, Any]) -> StorageBackend:
        """See JobContext; all but ``local`` are served by the executor's transfer process."""
        if backend_name(name) == "local":
            return open_backend(name, options)
        backend = RemoteBackend(self._child.transfer_address, name, options)
        self._opened.append(backend)
        return backend

    def close(self) -> None:
        """The job is over: let go of its storage."""
        for backend in self._opened:
            backend.close()
