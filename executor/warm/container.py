"""One kept container, in which jobs run one after the other. See `executor.warm.containers`."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import docker

from executor.containers.end import ContainerEnded
from executor.containers.engine import REQUEST_TIMEOUT, engine_errors
from executor.containers.output import Listener
from executor.containers.run import container_name, remove_container
from executor.containers.spec import BindMount, ContainerSpec, create_container
from executor.containers.watch import SLOW_ENGINE, ContainerWatch
from executor.failures import one_line
from executor.files.workspace import remove_tree
from executor.images.defaults import ImageDefaults
from executor.warm.files import OtherFileSystemError, WarmFiles
from executor.warm.run import Idle, WarmRun
from executor.warm.shell import PIPES, PROGRAM, JobOutput, Report, Shell, ShellGoneError
from messaging.errors import JobError, PortfireError
from storage_backends.paths import below

logger = logging.getLogger(__name__)

#: Seconds in which a shell greets us after its container's start.
_GREETING = 30.0
#: Seconds between questions.
_TICK = 0.25
#: What a shell does not pass on as it got it.
_SHELLS_OWN = {"BASHOPTS", "BASH_VERSION", "EUID", "GROUPS", "IFS", "LINENO", "OLDPWD", "OPTIND"}
_SHELLS_OWN |= {"PPID", "PWD", "SHELLOPTS", "SHLVL", "UID", "_"}


class NotReusableError(PortfireError):
    """A job needs a container of its own; says why. Nothing of it was run."""


@dataclass(frozen=True, kw_only=True)
class WarmJob:
    """A job for a kept container."""

    #: Of this, the command, entrypoint, job_environment, timeout and stop_grace; all else is the
    #: container's.
    spec: ContainerSpec
    #: A private directory: what is in it lies in the container while the job runs.
    files: Path
    #: The file that the output goes to.
    printed: Path
    listen: Listener | None = None


class WarmContainer:
    """A container whose program is a shell that waits for jobs. For one thread at a time.

    Of `client`, only the thread that gave it to the constructor may run jobs.
    """

    def __init__(
        self,
        client: docker.APIClient,
        place: Path,
        spec: ContainerSpec,
        prefix: str,
        labels: Mapping[str, str],
    ) -> None:
        """`place` is to be made; `prefix` is where in the container the files of jobs lie."""
        self.spec = spec
        self.prefix = prefix
        #: When it was used last, as of `time.monotonic`.
        self.used = time.monotonic()
        self._client = client
        self._place = place
        self._files = WarmFiles(place / "files")
        (place / "pipes").mkdir()
        self._shell = Shell(place / "pipes")
        self._labels = labels
        self._name = container_name(labels)
        self._image = ImageDefaults()
        self._idle: Idle | None = None
        #: Whether the engine was asked for it, and did not answer yet.
        self._half_made = False
        #: Once a job is stopped: when all that there is to do must be done, by `time.monotonic`.
        self._latest: float | None = None

    @property
    def clean(self) -> bool:
        """Whether another job may run in it."""
        return self._idle is not None

    @property
    def alive(self) -> bool:
        """Whether it is there, as far as can be told without asking the engine."""
        return self._shell.alive

    def start(self) -> None:
        """Make and start it. Raises NotReusableError, and ServiceError when the engine is away."""
        self._image = ImageDefaults.of(self._client, self.spec.image)
        self._check_environment()
        try:
            with engine_errors("starting a container to keep"):
                self._half_made = True
                create_container(self._client, self._kept_spec(), self._name)
                self._half_made = False
                self._client.start(self._name)
        except JobError as exc:
            raise NotReusableError(one_line(exc)) from exc
        self._idle = Idle(report=self._greeting())

    def run(self, job: WarmJob) -> ContainerEnded:
        """Run a job to its end; its files are back in their directory then.

        The container may be used again only if it is `clean` afterwards. Raises NotBegunError,
        NotReusableError, JobError, ServiceError, OSError; JobInterrupted stops the job first.
        """
        words = self._image.words(job.spec)
        before, self._idle = self._idle, None
        assert before is not None, "only a clean one is used"
        try:
            self._files.lend(job.files)
        except OtherFileSystemError as exc:
            where = f"{job.files} and {self._place}"
            raise NotReusableError(f"{where} are on two file systems") from exc
        run = WarmRun(self._client, self._name, self._shell, before)
        try:
            directory = self._directory(job.spec)
            with job.printed.open("wb") as file:
                return run.run(job.spec, words, directory, JobOutput(file, job.listen))
        finally:
            self._latest = run.latest
            returned = self._files.give_back(job.files)
            self.used = time.monotonic()
            self._idle = run.after if returned else None

    def remove(self, client: docker.APIClient | None) -> None:
        """Kill and remove it, if there is an engine; never raises. Idempotent.

        Without one, the shell ends when it sees that we are gone, and the container with it.
        """
        self._shell.close()
        if client is not None:
            latest = self._latest or time.monotonic() + REQUEST_TIMEOUT
            with ContainerWatch(client, self._name).timeout(max(0.1, latest - time.monotonic())):
                removed = remove_container(client, self._name)
                patience = time.monotonic() + SLOW_ENGINE
                while self._half_made and not removed and time.monotonic() < patience:
                    time.sleep(_TICK)  # an engine goes on with what it was asked for
                    removed = remove_container(client, self._name)
        remove_tree(self._place)

    def _greeting(self) -> Report:
        deadline = time.monotonic() + _GREETING
        watch = ContainerWatch(self._client, self._name)
        said = f"none greeted us within {_GREETING:g} s"
        with contextlib.suppress(ShellGoneError):
            while (now := time.monotonic()) < deadline:
                report = self._shell.greeted(now + _TICK)
                if report is not None:
                    return report
                state = watch.inspect()
                if not state["Running"]:
                    said = f"exit code {state['ExitCode']}"
                    break
        raise NotReusableError(f"image '{self.spec.image}' has no usable sh ({said})")

    def _kept_spec(self) -> ContainerSpec:
        inside = self._among_files(self._image.directory(self.spec)) is not None
        mounts = (
            BindMount(source=self._files.directory, target=self.prefix),
            BindMount(source=self._place / "pipes", target=PIPES, read_only=True),
        )
        return replace(
            self.spec,
            entrypoint=PROGRAM[:1],
            command=PROGRAM[1:],
            mounts=(*self.spec.mounts, *mounts),
            labels=self._labels,
            # The engine makes it when it is not there: as root, among the files of all jobs.
            working_dir="/" if inside else self.spec.working_dir,
        )

    def _directory(self, spec: ContainerSpec) -> str:
        """Where a job starts; made if it lies among its files."""
        directory = self._image.directory(spec)
        name = self._among_files(directory)
        if name:
            made = below(self._files.directory, name, "working_dir")
            made.mkdir(parents=True, exist_ok=True)
        return directory

    def _among_files(self, directory: str) -> str | None:
        """Its path below the prefix, ``""`` for the prefix; None if it is elsewhere."""
        inside = f"{directory}/".startswith(f"{self.prefix}/")
        return directory.removeprefix(self.prefix).strip("/") if inside else None

    def _check_environment(self) -> None:
        for name in (*self.spec.environment, *self._image.environment):
            if name in _SHELLS_OWN or not (name.isascii() and name.isidentifier()):
                raise NotReusableError(f"environment variable {name!r} does not pass a shell")
