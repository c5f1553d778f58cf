"""Warm containers: short jobs of the same settings run one after the other in a kept container.

Starting a container takes a tenth of a second or more. A job in a container that is there already
takes a few milliseconds, and no request to the engine. Each job has its own files and output, and
nothing that it started outlives it. What jobs share, and what is given up for the speed: the
image's files as earlier jobs left them (/tmp too), the host name, the network's address, and the
limits of one container. After any ending but success the container is thrown away.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import docker

from executor.containers.end import ContainerEnded
from executor.containers.engine import connected
from executor.containers.output import Listener
from executor.containers.spec import ContainerSpec
from executor.failures import one_line
from executor.files.workspace import remove_tree
from executor.warm.container import NotReusableError, WarmContainer, WarmJob
from executor.warm.run import NotBegunError
from messaging.errors import ServiceError

logger = logging.getLogger(__name__)

#: Containers in which a job may fail to begin, each replaced by another, before it is given up.
_TRIES = 3
#: Seconds that a removal which is under way may take at the end.
_LAST_PATIENCE = 10.0
#: Settings that are remembered as not reusable.
_REMEMBERED = 100

_Settings = tuple[ContainerSpec, str]


class WarmContainers:
    """The kept containers of one slot.

    `run` and `close` are for one thread, the same one; a thread of our own stops idle ones.
    """

    def __init__(
        self,
        directory: Path,
        labels: Mapping[str, str],
        *,
        idle_seconds: float = 60.0,
        limit: int = 4,
    ) -> None:
        """`directory` is to be made when first needed, on the file system of the jobs' files.

        All containers have `labels`. At most `limit` are kept, the least recently used goes; one
        that was idle for `idle_seconds` goes too.
        """
        self._directory = directory
        self._labels = labels
        self._idle_seconds = idle_seconds
        self._limit = limit
        self._made = 0
        self._refused: list[tuple[_Settings, str]] = []
        self._connection = ExitStack()
        self._client: docker.APIClient | None = None
        #: Guards `_kept`, `_busy` and `_closed`; told of each change of them.
        self._changed = threading.Condition()
        #: The least recently used first.
        self._kept: list[WarmContainer] = []
        #: The one that the jobs' thread works on, which is not the timer's to remove.
        self._busy: WarmContainer | None = None
        self._closed = False
        self._timer: threading.Thread | None = None

    def run(
        self,
        spec: ContainerSpec,
        prefix: str,
        files: Path,
        printed: Path,
        listen: Listener | None = None,
    ) -> ContainerEnded:
        """Run a job to its end, in a kept container if there is one that fits, else in a new one.

        What lies in `files`, a private directory, lies at `prefix` in the container meanwhile, and
        is back in `files`, with what the job wrote there, in every ending; so `spec.mounts` has
        other mounts only. What the job prints goes to the file `printed` and to `listen`, all of it
        as the first stream. ``metrics`` has ``cpu_seconds`` of all processes that were waited for.

        Raises NotReusableError, with nothing run, when the job needs a container of its own: logged
        for the first job of such settings. Else raises as `run_container` does, and OSError; a
        JobInterrupted stops the job first.
        """
        settings = _settings(spec, prefix)
        for refused, why in self._refused:
            if refused == settings:
                raise NotReusableError(why)
        job = WarmJob(spec=spec, files=files, printed=printed, listen=listen)
        try:
            return self._run(settings, job)
        except NotReusableError as exc:
            logger.warning("jobs that ask for reuse run in containers of their own: %s", exc)
            self._refused = [*self._refused[1 - _REMEMBERED :], (settings, str(exc))]
            raise

    def close(self) -> None:
        """Remove all of them, and the directory. Never raises. Idempotent."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._timer is not None:
            self._timer.join(_LAST_PATIENCE)
        for container in list(self._kept):
            self._discard(container)
        self._connection.close()
        remove_tree(self._directory)

    def _run(self, settings: _Settings, job: WarmJob) -> ContainerEnded:
        for left in [kept for kept in self._kept if not kept.clean]:
            self._discard(left)  # its job was interrupted once more while it was put away
        for _ in range(_TRIES):
            container = self._take(settings) or self._start(settings)
            try:
                return container.run(job)
            except NotBegunError:
                logger.info("a kept container was gone: the job begins in another one")
            finally:
                self._put_back(container)
        raise ServiceError(f"{_TRIES} kept containers were gone before the job could begin in them")

    def _take(self, settings: _Settings) -> WarmContainer | None:
        """An idle one that fits, from now on busy."""
        with self._changed:
            fitting = (kept for kept in self._kept if (kept.spec, kept.prefix) == settings)
            self._busy = container = next(fitting, None)
        if container is None or container.alive:
            return container
        logger.info("a kept container ended while it was idle")
        self._discard(container)
        return None

    def _start(self, settings: _Settings) -> WarmContainer:
        """A new one, busy; the oldest makes room."""
        spec, prefix = settings
        if not prefix:
            raise NotReusableError("their internal_prefix is the root directory")
        for oldest in self._kept[: max(0, len(self._kept) + 1 - self._limit)]:
            self._discard(oldest)
        client = self._connected()
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._made += 1
        place = self._directory / str(self._made)
        container = WarmContainer(client, place, spec, prefix, self._labels)
        with self._changed:
            self._kept.append(container)
            self._busy = container
        try:
            container.start()
        except BaseException:
            self._discard(container)
            raise
        return container

    def _put_back(self, container: WarmContainer) -> None:
        """After a job: it is idle, or goes."""
        if not container.clean:
            self._discard(container)
            return
        with self._changed:
            self._kept.remove(container)
            self._kept.append(container)
            self._busy = None
            self._changed.notify()
        if self._timer is None:
            name = "warm-containers"
            self._timer = threading.Thread(target=self._remove_idle, name=name, daemon=True)
            self._timer.start()

    def _discard(self, container: WarmContainer) -> None:
        """Remove one; by the jobs' thread, and again if that was interrupted."""
        with self._changed:
            if container not in self._kept:
                return  # the timer was quicker
            self._busy = container
        container.remove(self._client)
        with self._changed:
            self._kept.remove(container)
            self._busy = None

    def _connected(self) -> docker.APIClient:
        if self._client is None:
            self._client = self._connection.enter_context(connected())
        return self._client

    def _remove_idle(self) -> None:
        while (container := self._next_idle()) is not None:
            logger.debug("a kept container was idle for %g s", self._idle_seconds)
            try:
                with connected() as client:
                    container.remove(client)
            except ServiceError as exc:
                logger.warning("a kept container was not removed: %s", one_line(exc))
                container.remove(None)

    def _next_idle(self) -> WarmContainer | None:
        """Wait for one that was idle for too long, and take it out; None at the end."""
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                idle = [kept for kept in self._kept if kept is not self._busy]
                due = min((kept.used + self._idle_seconds for kept in idle), default=None)
                if due is not None and due <= now:
                    container = min(idle, key=lambda kept: kept.used)
                    self._kept.remove(container)
                    return container
                self._changed.wait(None if due is None else due - now)
            return None


def _settings(spec: ContainerSpec, prefix: str) -> _Settings:
    """What two jobs must have in common to run in one container."""
    shared = replace(spec, command=(), entrypoint=None, labels={}, timeout=0.0, stop_grace=0.0)
    return replace(shared, job_environment={}), prefix.rstrip("/")
