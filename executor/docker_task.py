"""DockerTask: a Firetask that runs a command in a container, with its files staged in and out."""

from __future__ import annotations

import os
import shlex
from pathlib import Path, PurePosixPath
from typing import Any

from fireworks import FiretaskBase, FWAction, explicit_serialize

from executor.capture import Output, parse_outputs, split_capture
from executor.command import failure_reason
from executor.container_run import ContainerEnded, ContainerSpec, run_container
from executor.containers import job_labels
from executor.context import JobContext, current_context
from executor.docker_engine import connected, ensure_image
from executor.failures import phase_error
from executor.job_storage import JobStorage, job_storage
from executor.program import checked_timeout
from executor.staging import Executed, Report, StagedJob, run_staged
from executor.task_parameters import listed, mapping
from executor.workspace import Workspace
from messaging.errors import JobError, PortfireError
from storage_backends.paths import PathError, below, checked_names, is_tree


@explicit_serialize
class DockerTask(FiretaskBase):
    """Run a command in a Docker container; FIZZLED with the reason if it fails.

    Parameters, those of Borealis' DockerTask:

    - ``name``: for logs.
    - ``image``: pulled if the engine does not have it; without a tag it is ``:latest``.
    - ``command``: a list, or a text that is split as a shell would, without a shell.
    - ``internal_prefix``: absolute path in the container, below which inputs and outputs lie.
    - ``storage_prefix``: the same place in the storage.
    - ``inputs``, ``outputs``: paths in the container, absolute ones below ``internal_prefix`` or
      relative to it; one that ends in ``/`` is a tree. An output ``>path`` is what the command
      prints; ``>>path`` is the same as a log with header and footer, its name stamped with the
      time, stored also if the command fails. Other outputs are stored on success only.
    - ``timeout``: seconds, by default an hour.

    And ``storage``, ``options``, ``workdir`` as of CommandTask. The command runs as the executor's
    user and group. The container is removed in every ending. Raises PhaseError.
    """

    required_params = ["name", "image", "command", "internal_prefix", "storage_prefix"]
    optional_params = ["inputs", "outputs", "timeout", "storage", "options", "workdir"]

    def run_task(self, fw_spec: dict[str, Any]) -> FWAction:  # noqa: ARG002 - FireWorks' signature
        """Run it; stored_data has ``exit_code``, ``metrics`` and ``bytes``."""
        context, report = current_context(), Report()
        try:
            job = self._staged_job(context)
            container = _Container(self, job, context)
        except PortfireError as exc:
            raise phase_error("stage-in", exc) from exc
        run_staged(job, container.execute, context, report)
        return FWAction(stored_data=report.stored_data())

    def _staged_job(self, context: JobContext) -> StagedJob:
        prefix = _checked_prefix(self["internal_prefix"])
        inputs = [_below_prefix(path, prefix, "input") for path in listed(self, "inputs")]
        outputs = []
        for text in listed(self, "outputs"):
            capture, path = split_capture(text)
            outputs.append(capture + _below_prefix(path, prefix, "output"))
        return StagedJob(
            title=f"DockerTask: {self['name']}",
            executable=str(self["image"]),
            inputs=checked_names(inputs, "input"),
            outputs=parse_outputs(outputs),
            storage=self._storage(context),
            directory=Path.cwd(),
            timeout=checked_timeout(self.get("timeout"), context.default_timeout),
            facts=(f"image: {self['image']}", f"command: {self['command']}"),
        )

    def _storage(self, context: JobContext) -> JobStorage | None:
        options = mapping(self, "options")
        if self.get("workdir") is not None:
            options["workdir"] = self["workdir"]
        return job_storage(
            context,
            storage=self.get("storage"),
            options=options,
            prefix=self["storage_prefix"],
            launch_directory=Path.cwd(),
        )


class _Container:
    """The execution of a DockerTask."""

    def __init__(self, task: DockerTask, job: StagedJob, context: JobContext) -> None:
        self._image = _checked_image(task["image"])
        self._command = _checked_command(task["command"])
        self._prefix = _checked_prefix(task["internal_prefix"])
        self._job = job
        self._labels = job_labels(context.executor, context.job, context.attempt)

    def execute(self, workspace: Workspace) -> Executed:
        """Run it with the workspace's files mounted."""
        placeholders = _Placeholders(workspace.files, self._job.outputs)
        with connected() as client:
            image = ensure_image(client, self._image)
            placeholders.make()
            spec = ContainerSpec(
                image=image,
                command=self._command,
                mounts=self._mounts(workspace.files),
                labels=self._labels,
                timeout=self._job.timeout,
            )
            try:
                outcome = run_container(client, spec, workspace.stdout)
            finally:
                placeholders.remove_unwritten()
        return Executed(
            ended=outcome.ended,
            error=self._error(outcome),
            printed=(workspace.stdout,),
            details={"oom_killed": outcome.oom_killed},
            facts=(f"image id: {image}",),
        )

    def _mounts(self, files: Path) -> tuple[tuple[Path, str], ...]:
        outputs = [output.name for output in self._job.outputs if not output.capture]
        names = dict.fromkeys((*self._job.inputs, *outputs))
        return tuple(
            (below(files, name, "mount"), f"{self._prefix}/{name.rstrip('/')}") for name in names
        )

    def _error(self, outcome: ContainerEnded) -> str | None:
        program = f"the command in {self._image}"
        reason = failure_reason(outcome.ended, program, self._job.timeout)
        if reason and not outcome.ended.timed_out and outcome.oom_killed:
            code = outcome.ended.exit_code
            return f"{program} probably ran out of memory (exit code {code}): give it more"
        if reason and outcome.error:
            return f"{reason} ({' '.join(outcome.error.split())[:200]})"
        return reason


class _Placeholders:
    """Empty files for outputs: Docker mounts only what is there.

    One that the command never opened for writing keeps its time of last change, which no file of
    today has, and is removed again: so an output that was not written is missed.
    """

    _UNWRITTEN = (0, 0)

    def __init__(self, files: Path, outputs: tuple[Output, ...]) -> None:
        self._paths = [
            below(files, output.name, "output")
            for output in outputs
            if not output.capture and not is_tree(output.name)
        ]
        self._made: list[Path] = []

    def make(self) -> None:
        for path in self._paths:
            if not path.exists():
                path.touch()
                os.utime(path, ns=self._UNWRITTEN)
                self._made.append(path)

    def remove_unwritten(self) -> None:
        for path in self._made:
            facts = path.lstat()
            if facts.st_mtime_ns == 0 and facts.st_size == 0:
                path.unlink()


def _checked_prefix(prefix: object) -> str:
    """The internal prefix without its last slash (``""`` for the root). Raises PathError."""
    if not isinstance(prefix, str) or not prefix.startswith("/") or "\0" in prefix:
        raise PathError(f"internal_prefix is {prefix!r}: expected an absolute path")
    if ".." in PurePosixPath(prefix).parts:
        raise PathError(f"internal_prefix {prefix!r} has a '..' part: expected a plain path")
    return prefix.rstrip("/")


def _below_prefix(path: object, prefix: str, what: str) -> str:
    """The part of an internal path below the prefix, not yet checked further."""
    if not isinstance(path, str):
        raise PathError(f"{what} {path!r} is a {type(path).__name__}: expected a path")
    if not path.startswith("/"):
        return path
    if not path.startswith(f"{prefix}/"):
        raise PathError(f"{what} {path!r} is not below internal_prefix {prefix + '/'!r}")
    return path.removeprefix(f"{prefix}/")


def _checked_image(image: object) -> str:
    if not isinstance(image, str) or not image.strip():
        raise JobError(f"image is {image!r}: expected name:tag")
    return image.strip()


def _checked_command(command: object) -> str | list[str]:
    if isinstance(command, str):
        try:
            shlex.split(command)
        except ValueError as exc:
            raise JobError(f"command {command[:60]!r} cannot be split: {exc}") from exc
        return command
    if isinstance(command, (list, tuple)) and all(
        isinstance(p, (str, int, float)) for p in command
    ):
        return [str(part) for part in command]
    raise JobError(f"command is {command!r}: expected a list of texts, or a text")
