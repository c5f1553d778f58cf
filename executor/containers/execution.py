"""The execution of a DockerTask: its image, its container, and what became of it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import docker

from events.exporters import trace_context
from executor.capture import Output
from executor.containers.end import ContainerEnded
from executor.containers.finding import job_labels
from executor.containers.kept import kept_connection
from executor.containers.output import Listener
from executor.containers.ownership import take_over
from executor.containers.parameters import ContainerParameters
from executor.containers.run import run_container
from executor.containers.spec import BindMount, ContainerSpec
from executor.context import JobContext
from executor.files.staging import Executed, StagedJob
from executor.files.workspace import Workspace
from executor.images.ensuring import ensure_image
from executor.task_output import LineListener
from executor.warm.container import NotReusableError
from storage_backends.paths import below, is_tree


@dataclass(frozen=True, kw_only=True)
class DockerCommand:
    """What a DockerTask runs, and where its files lie in the container."""

    image: str
    #: A list, or a text that is split as a shell would, without a shell.
    command: str | list[str]
    #: Absolute, without a last slash.
    prefix: str
    wanted: ContainerParameters
    #: For reasons: the command's first word, and the image.
    program: str


class ContainerExecution:
    """Runs one DockerTask between its stages."""

    def __init__(self, task: DockerCommand, job: StagedJob, context: JobContext) -> None:
        self._task = task
        self._job = job
        self._context = context
        self._memory, self._more_memory = _memory(task.wanted, context)

    def execute(self, workspace: Workspace) -> Executed:
        """Run it with the workspace's files mounted. Raises JobError, ServiceError, OSError."""
        wanted, context = self._task.wanted, self._context
        with kept_connection() as client:
            image = ensure_image(
                client,
                self._task.image,
                context=context,
                policy=wanted.pull,
                platform=wanted.platform,
                shared_directory=context.image_turns,
            )
            workspace.image = image
            listener = LineListener(context.task_output) if context.wants_output else None
            spec = self._spec(image)
            context.container_begins(spec.stop_grace)
            outcome = self._run(client, spec, workspace, listener)
            if listener is not None:
                listener.finish()
            if workspace.private:
                take_over(workspace.files, image)
        return self._executed(outcome, workspace, image)

    def _run(
        self,
        client: docker.APIClient,
        spec: ContainerSpec,
        workspace: Workspace,
        listen: Listener | None,
    ) -> ContainerEnded:
        warm = self._context.warm
        # Files are moved in and out of a kept container: not those of a shared directory.
        if self._task.wanted.reuse and warm is not None and workspace.private:
            try:
                return warm.run(spec, self._task.prefix, workspace.files, workspace.stdout, listen)
            except NotReusableError:
                pass  # it has said why
        mounts = (*self._mounts(workspace.files), *spec.mounts)
        with _placeholders(workspace.files, self._job.outputs):
            return run_container(client, replace(spec, mounts=mounts), workspace.stdout, listen)

    def _spec(self, image: str) -> ContainerSpec:
        wanted, context = self._task.wanted, self._context
        return ContainerSpec(
            image=image,
            command=self._task.command,
            entrypoint=wanted.entrypoint,
            environment=wanted.environment,
            job_environment=_trace_variable(wanted.environment),
            mounts=tuple(
                BindMount(
                    source=Path(mount.source).resolve(),
                    target=mount.target,
                    read_only=mount.read_only,
                )
                for mount in wanted.mounts
            ),
            labels={**wanted.labels, **job_labels(context)},
            user=wanted.user or f"{os.getuid()}:{os.getgid()}",
            working_dir=wanted.working_dir,
            resources=replace(
                wanted.resources,
                memory=self._memory,
                cpus=wanted.resources.cpus or context.policy.max_cpus,
            ),
            network=wanted.network or context.container_network,
            read_only=wanted.read_only,
            capabilities=wanted.capabilities,
            platform=wanted.platform,
            timeout=self._job.timeout,
            stop_grace=context.stop_grace if wanted.stop_grace is None else wanted.stop_grace,
        )

    def _mounts(self, files: Path) -> list[BindMount]:
        outputs = [output.name for output in self._job.outputs if not output.capture]
        names = dict.fromkeys((*self._job.inputs, *outputs))
        return [
            BindMount(
                source=below(files, name, "mount"),
                target=f"{self._task.prefix}/{name.rstrip('/')}",
                read_only=self._job.read_only_inputs and name in self._job.inputs,
            )
            for name in names
        ]

    def _executed(self, outcome: ContainerEnded, workspace: Workspace, image: str) -> Executed:
        error = outcome.reason(self._task.program, timeout=self._job.timeout, memory=self._memory)
        again = None
        if error and outcome.cause == "out-of-memory":
            again = self._more_memory
            hint = f"runs again with {again:,} bytes" if again else "raise memory or retry_memory"
            error = f"{error}: {hint}"
        return Executed(
            ended=outcome.ended,
            error=error,
            retry_memory=again is not None,
            printed=(workspace.stdout,),
            details=outcome.facts(),
            facts=(f"image id: {image}",),
        )


def _trace_variable(chosen: Mapping[str, str]) -> dict[str, str]:
    """What a program beside the container would find, unless the task has `chosen` its own."""
    value = os.environ.get(trace_context.VARIABLE)
    return {trace_context.VARIABLE: value} if value and trace_context.VARIABLE not in chosen else {}


def _memory(wanted: ContainerParameters, context: JobContext) -> tuple[int | None, int | None]:
    """Bytes for this try and for the next one; None: no limit, and no next one."""
    first = wanted.resources.memory
    if first is None:
        return context.policy.max_memory, None
    sizes = (first, *wanted.retry_memory)
    step = min(context.memory_step, len(sizes) - 1)
    return sizes[step], sizes[step + 1] if step + 1 < len(sizes) else None


#: A time of last change that no file of today has.
_UNWRITTEN = (0, 0)


@contextmanager
def _placeholders(files: Path, outputs: tuple[Output, ...]) -> Iterator[None]:
    """Empty files for outputs inside the block: Docker mounts only what is there.

    One that the command never opened for writing keeps its time of last change, and is removed
    again: so an output that was not written is missed.
    """
    made = []
    for output in outputs:
        path = below(files, output.name, "output")
        if not output.capture and not is_tree(output.name) and not path.exists():
            path.touch()
            os.utime(path, ns=_UNWRITTEN)
            made.append(path)
    try:
        yield
    finally:
        for path in made:
            facts = path.lstat()
            if facts.st_mtime_ns == 0 and facts.st_size == 0:
                path.unlink()
