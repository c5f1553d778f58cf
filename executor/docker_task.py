"""DockerTask: a Firetask that runs a command in a container, with its files staged in and out."""

from __future__ import annotations

import shlex
from pathlib import Path, PurePosixPath
from typing import Any

from fireworks import FiretaskBase, FWAction, explicit_serialize

from executor.capture import parse_outputs, split_capture
from executor.containers.execution import ContainerExecution, DockerCommand
from executor.containers.parameters import PARAMETERS, container_parameters
from executor.context import JobContext, current_context
from executor.failures import phase_error
from executor.files.staging import Report, StagedJob, run_staged
from executor.files.storage import JobStorage, job_storage
from executor.images.reference import ImageReference
from executor.program import checked_timeout
from executor.task_parameters import flag, listed, mapping, refuse_unknown
from messaging.errors import JobError, PortfireError
from storage_backends.paths import PathError, checked_names


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
    - ``outputs_on_failure``: as of CommandTask.
    - ``timeout``: seconds, by default an hour.

    And ``storage``, ``options``, ``workdir`` as of CommandTask, and what the container is to be:
    `executor.containers.parameters`. The command runs as the executor's user and group unless
    ``user`` says otherwise. The container is removed in every ending. Raises PhaseError.
    """

    required_params = ["name", "image", "command", "internal_prefix", "storage_prefix"]
    optional_params = [
        "inputs",
        "outputs",
        "outputs_on_failure",
        "timeout",
        "storage",
        "options",
        "workdir",
        *PARAMETERS,
    ]

    def run_task(self, fw_spec: dict[str, Any]) -> FWAction:  # noqa: ARG002 - FireWorks' signature
        """Run it; stored_data has ``exit_code``, ``metrics`` and ``bytes``."""
        context, report = current_context(), Report()
        try:
            refuse_unknown(self)
            task = self._command()
            context.policy.check_container(str(ImageReference.parse(task.image)), task.wanted)
            job = self._staged_job(context)
        except PortfireError as exc:
            raise phase_error("stage-in", exc) from exc
        run_staged(job, ContainerExecution(task, job, context).execute, context, report)
        return FWAction(stored_data=report.stored_data())

    def _command(self) -> DockerCommand:
        image, command = _checked_image(self["image"]), _checked_command(self["command"])
        return DockerCommand(
            image=image,
            command=command,
            prefix=_checked_prefix(self["internal_prefix"]),
            wanted=container_parameters(self),
            program=f"{_first_word(command)!r} in {image}",
        )

    def _staged_job(self, context: JobContext) -> StagedJob:
        prefix = _checked_prefix(self["internal_prefix"])
        inputs = [_below_prefix(path, prefix, "input") for path in listed(self, "inputs")]
        outputs, on_failure = (
            _outputs(listed(self, parameter), prefix)
            for parameter in ("outputs", "outputs_on_failure")
        )
        return StagedJob(
            title=f"DockerTask: {self['name']}",
            executable=str(self["image"]),
            inputs=checked_names(inputs, "input"),
            outputs=parse_outputs(outputs, on_failure),
            read_only_inputs=self._read_only_inputs(inputs, outputs + on_failure),
            storage=self._storage(context),
            directory=Path.cwd(),
            timeout=checked_timeout(self.get("timeout"), context.default_timeout),
            facts=(f"image: {self['image']}", f"command: {self['command']}"),
        )

    def _read_only_inputs(self, inputs: list[str], outputs: list[str]) -> bool:
        """Whether no input can be written: it may be a link into a cache that others use."""
        # A kept container has the files of its jobs in one directory, which they may write.
        if not flag(self, "read_only_inputs") or flag(self, "reuse"):
            return False
        for name in inputs:
            for output in outputs:
                if _overlap(name, split_capture(output)[1]):
                    raise JobError(
                        f"read_only_inputs: input {name!r} and output {output!r} share files: give "
                        "the output another place, or leave read_only_inputs out"
                    )
        return True

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


def _overlap(one: str, other: str) -> bool:
    one, other = (f"{name.rstrip('/')}/" for name in (one, other))
    return one.startswith(other) or other.startswith(one)


def _checked_prefix(prefix: object) -> str:
    """The internal prefix without its last slash (``""`` for the root). Raises PathError."""
    if not isinstance(prefix, str) or not prefix.startswith("/") or "\0" in prefix:
        raise PathError(f"internal_prefix is {prefix!r}: expected an absolute path")
    if ".." in PurePosixPath(prefix).parts:
        raise PathError(f"internal_prefix {prefix!r} has a '..' part: expected a plain path")
    return prefix.rstrip("/")


def _outputs(texts: list[Any], prefix: str) -> list[str]:
    parts = [split_capture(text) for text in texts]
    return [capture + _below_prefix(path, prefix, "output") for capture, path in parts]


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


def _first_word(command: str | list[str]) -> str:
    words = shlex.split(command) if isinstance(command, str) else command
    return words[0] if words else "the image's command"


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
