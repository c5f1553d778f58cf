"""Stage in, execute, stage out: the one way of a job's files, for every kind of task.

A job whose storage is a shared directory works there and nothing is moved; any other gets private
copies. Each phase is announced by events, also when it fails; a failure is raised as a PhaseError.
After a failed execution what its outputs say is stored too: ``>>`` logs, and what the job wants.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from executor.capture import Output, log_footer, log_header, write_log
from executor.command import Ended
from executor.context import JobContext
from executor.failures import Phase, PhaseFailedError, PhaseMemoryError, one_line
from executor.files.moving import Moved, fetch_inputs, store_outputs
from executor.files.placing import place_file
from executor.files.storage import JobStorage
from executor.files.workspace import Workspace, open_workspace
from executor.last_output import last_lines
from executor.phases import told_phase
from executor.tail import tail
from executor.written import ExpectedOutputs, is_there
from messaging.errors import PortfireError
from storage_backends.contract import Upload
from storage_backends.errors import StorageNotFoundError
from storage_backends.paths import below, is_tree

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class StagedJob:
    """What to stage around an execution. All names are checked ones."""

    #: For people: ``CommandTask: wc``.
    title: str
    #: For events: the program or image.
    executable: str
    inputs: tuple[str, ...] = ()
    outputs: tuple[Output, ...] = ()
    #: Whether the execution cannot alter its inputs, so that they may be links into the cache.
    read_only_inputs: bool = False
    #: None: the job works in the launch directory.
    storage: JobStorage | None = None
    #: The launch directory; private directories are made inside it.
    directory: Path
    #: Seconds, for logs; whoever executes keeps to it.
    timeout: float
    #: Paragraphs for the head of ``>>`` logs.
    facts: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Executed:
    """What an execution came to."""

    ended: Ended
    #: One line, or None for success.
    error: str | None
    #: Whether the task has more memory for a next try.
    retry_memory: bool = False
    #: The files that it printed into; ``>`` and ``>>`` take the first.
    printed: tuple[Path, ...]
    #: More for `PhaseError.to_dict`.
    details: dict[str, Any] = field(default_factory=dict)
    #: More paragraphs for the head of ``>>`` logs.
    facts: tuple[str, ...] = ()


@dataclass
class Report:
    """What is known of a job: complete after `run_staged` returned, useful after it raised."""

    exit_code: int | None = None
    #: Seconds of each phase by name (``stage_in``, ``execution``, ``stage_out``).
    seconds: dict[str, float] = field(default_factory=dict)
    #: Seconds since the epoch by event name without ``job.``.
    timestamps: dict[str, float] = field(default_factory=dict)
    #: What the execution used.
    metrics: dict[str, Any] = field(default_factory=dict)
    bytes_in: int = 0
    bytes_out: int = 0
    #: Ends of the printed files.
    tails: tuple[str, ...] = ()

    def stored_data(self) -> dict[str, Any]:
        """What FireWorks keeps of a success. JSON."""
        return {
            "exit_code": self.exit_code,
            "metrics": {**self.metrics, **self.seconds},
            "bytes": {"stage_in": self.bytes_in, "stage_out": self.bytes_out},
        }


Execute = Callable[[Workspace], Executed]


def run_staged(job: StagedJob, execute: Execute, context: JobContext, report: Report) -> None:
    """Run `execute` between staging in and out; fills `report`.

    Raises PhaseError, or JobInterrupted when the job was stopped or its lease is lost: then nothing
    is stored any more. The private directory is gone afterwards.
    """
    shared = job.directory if job.storage is None else job.storage.directory
    with open_workspace(job.directory, shared) as workspace:
        run = _Run(job, context, report, workspace)
        run.stage_in()
        executed = run.execute(execute)
        context.confirm_lease()
        run.stage_out(executed)


class _Run:
    """One pass of `run_staged`."""

    def __init__(
        self, job: StagedJob, context: JobContext, report: Report, workspace: Workspace
    ) -> None:
        self.job = job
        self.context = context
        self.report = report
        self.workspace = workspace

    def stage_in(self) -> None:
        with self._phase("stage-in", announced=self._moves) as fields:
            fields.update(self._backend)
            self.workspace.files.mkdir(parents=True, exist_ok=True)
            fetched = self._fetch()
            self.report.bytes_in = fetched.bytes
            for output in self.job.outputs:
                self._make_room(output.name)
            self._expected = self._expect_outputs()
            fields.update(bytes=fetched.bytes, cached=fetched.cached, files=fetched.files())

    def execute(self, execute: Execute) -> Executed:
        with self._phase("execution", announced=True) as fields:
            executed = execute(self.workspace)
            code = executed.ended.exit_code
            self.report.exit_code = code
            self.report.metrics = executed.ended.metrics
            self.report.tails = tuple(tail(path) for path in executed.printed)
            fields.update(metrics=self.report.metrics, exit_code=code, exit_status=code)
            if executed.error:
                fields["output"] = last_lines(self.report.tails)
                self._store_what_failure_left(executed)
                kind = PhaseMemoryError if executed.retry_memory else PhaseFailedError
                raise kind("execution", executed.error, self._details(executed))
        return executed

    def stage_out(self, executed: Executed) -> None:
        with self._phase("stage-out", announced=self._moves) as fields:
            fields.update(self._backend)
            self._require_outputs()
            wanted = [output for output in self.job.outputs if output.on_success]
            stored = self._store(wanted, executed)
            self.report.bytes_out += stored.bytes
            fields.update(bytes=self.report.bytes_out, files=stored.files())

    @property
    def _moves(self) -> bool:
        return self.workspace.private and bool(self.job.inputs or self.job.outputs)

    @property
    def _backend(self) -> dict[str, str]:
        storage = self.job.storage
        return {} if storage is None else {"backend": storage.kind}

    def _fetch(self) -> Moved:
        names, directory = self.job.inputs, self.workspace.files
        if self.workspace.private:
            assert self.job.storage is not None  # a job without storage works in a shared place
            return fetch_inputs(
                self.job.storage,
                names,
                directory,
                self.context,
                read_only=self.job.read_only_inputs,
            )
        for name in names:
            if not is_there(below(directory, name, "input"), name):
                kind = "tree" if is_tree(name) else "file"
                raise StorageNotFoundError(
                    f"input {kind} {name!r} is not in {directory}, or is empty"
                )
        return Moved({})

    def _make_room(self, name: str) -> None:
        place = below(self.workspace.files, name, "output")
        (place if is_tree(name) else place.parent).mkdir(parents=True, exist_ok=True)

    def _require_outputs(self) -> None:
        workspace = self.workspace
        if unwritten := self._expected.unwritten():
            raise PhaseFailedError(
                "stage-out",
                f"{self.job.executable} did not write its output {', '.join(unwritten[:3])}: "
                f"looked in {'its working directory' if workspace.private else workspace.files}",
            )

    def _expect_outputs(self) -> ExpectedOutputs:
        written = [o.name for o in self.job.outputs if o.on_success and not o.capture]
        # What is an input too may well stay as it is.
        return ExpectedOutputs(self.workspace.files, written, kept=self.job.inputs)

    def _store(self, outputs: Sequence[Output], executed: Executed) -> Moved:
        files, ours = self.workspace.files, self.workspace.ours
        uploads = [
            Upload(self._captured(output, executed), output.name, ours)
            if output.capture
            else Upload(files / output.name, output.name, files)
            for output in outputs
        ]
        if self.workspace.private:
            assert self.job.storage is not None
            return store_outputs(self.job.storage, uploads, self.context)
        for upload in uploads:
            if upload.within == ours:
                place = below(files, upload.name, "output")
                place_file(upload.source, place, within=upload.within)
        return Moved({})

    def _captured(self, output: Output, executed: Executed) -> Path:
        printed = executed.printed[0]
        if output.capture == ">":
            return printed
        job, seconds = self.job, executed.ended.metrics.get("seconds", 0.0)
        log = self.workspace.ours / "log"
        header = log_header(job.title, job.facts + executed.facts)
        write_log(log, printed, header, log_footer(job.title, seconds, job.timeout, executed.error))
        return log

    def _store_what_failure_left(self, executed: Executed) -> None:
        left = [o for o in self.job.outputs if o.on_failure and (o.capture or self._is_there(o))]
        if left:
            self.context.confirm_lease()
        for output in left:
            try:
                self.report.bytes_out += self._store([output], executed).bytes
            except (PortfireError, OSError) as exc:
                # The program's own failure is the one to report.
                logger.warning("could not store output %s: %s", output.name, one_line(exc))

    def _is_there(self, output: Output) -> bool:
        # A symbolic link counts, wherever it leads: storing it says what is wrong with it.
        path = self.workspace.files / output.name
        return path.is_symlink() or is_there(path, output.name)

    def _details(self, executed: Executed) -> dict[str, Any]:
        ended = executed.ended
        return {
            "exit_code": ended.exit_code,
            "signal": ended.signal_name,
            "timed_out": ended.timed_out,
            "metrics": {**ended.metrics, **self.report.seconds},
            "output": "\n".join(filter(None, self.report.tails)),
            **executed.details,
        }

    def _phase(self, phase: Phase, *, announced: bool) -> AbstractContextManager[dict[str, Any]]:
        def tell(event: str, fields: dict[str, Any]) -> None:
            self.report.timestamps[event] = time.time()
            if "time" in fields:
                self.report.seconds[phase.replace("-", "_")] = fields["time"]
            if announced:
                self.context.emit(f"job.{event}", **fields)

        about = {"executable": self.job.executable} if phase == "execution" else {}
        return told_phase(phase, tell, about)
