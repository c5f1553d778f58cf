"""One job in a kept container, from the word to the shell to what is to be known of its end."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import docker
import requests
from docker.errors import DockerException

from executor.containers.end import ContainerEnded
from executor.containers.spec import ContainerSpec
from executor.containers.stats import StatsSampler
from executor.containers.watch import KILLED, SLOW_ENGINE, ContainerWatch
from executor.failures import one_line
from executor.usage import Usage
from executor.warm.shell import JobOutput, Report, Shell, ShellGoneError
from messaging.errors import JobInterrupted, ServiceError

logger = logging.getLogger(__name__)

#: Seconds in which a shell that waits begins a job.
_BEGINNING = 10.0
#: Seconds in which what a job left, and what was killed, is gone; and between looks.
_QUIET, _LOOK = 1.0, 0.01
#: Seconds in which a container ends whose shell has.
_END = 30.0
# To the shell's child; should the kernel not tell it, to all but the shell, which minds no signal.
_TERMINATE = "read -r jobs </proc/{pid}/task/{pid}/children; kill -TERM ${{jobs:--1}}"


class NotBegunError(Exception):
    """The container was gone, or did not answer, before the job began: it can begin elsewhere."""


@dataclass(frozen=True, kw_only=True)
class Idle:
    """A kept container between two jobs."""

    #: What its shell said last.
    report: Report
    #: What the engine counted so far, as of the last sample.
    counted: Usage = field(default_factory=Usage)


class WarmRun:
    """One pass of `WarmContainer.run`."""

    def __init__(self, client: docker.APIClient, name: str, shell: Shell, before: Idle) -> None:
        #: The container afterwards, if nothing of the job is left in it.
        self.after: Idle | None = None
        #: Once it is stopped: when all that there is to do must be done, by `time.monotonic`.
        self.latest: float | None = None
        self._client = client
        self._name = name
        self._shell = shell
        self._before = before
        self._counted = before.counted
        self._watch = ContainerWatch(client, name)

    def run(
        self, spec: ContainerSpec, words: list[str], directory: str, output: JobOutput
    ) -> ContainerEnded:
        """Run a program to its end.

        Raises NotBegunError, ServiceError; JobInterrupted stops the job first.
        """
        since, began = time.time(), time.monotonic()
        metrics: dict[str, Any] = {}
        try:
            self._begin(words, directory, spec.job_environment)
            with self._measured(metrics):
                report = self._shell.report(began + spec.timeout, output)
        except ShellGoneError:
            return self._ended(None, since, metrics, output)
        except JobInterrupted:
            self._stop(spec.stop_grace, output)
            raise
        if report is None:
            code = self._stop(spec.stop_grace, output)
            return ContainerEnded(exit_code=code, timed_out=True, metrics=metrics)
        metrics["cpu_seconds"] = round(report.cpu_seconds - self._before.report.cpu_seconds, 6)
        if report.status:
            return self._ended(report, since, metrics, output)
        self._settle(report, output)
        return ContainerEnded(exit_code=0, metrics=metrics)

    def _begin(self, words: list[str], directory: str, environment: Mapping[str, str]) -> None:
        try:
            latest = time.monotonic() + _BEGINNING
            if self._shell.begin(words, directory, latest, environment):
                return
            # It must not begin later, beside its second try.
            if not self._kill(_END):
                raise ServiceError(f"container {self._name} neither begins a job nor can be killed")
        except ShellGoneError as exc:
            raise NotBegunError from exc
        raise NotBegunError

    def _settle(self, report: Report, output: JobOutput) -> None:
        """After a success: see that all that the job left behind is gone."""
        deadline = time.monotonic() + _QUIET
        with contextlib.suppress(ShellGoneError):
            while report.processes > self._before.report.processes:
                if time.monotonic() > deadline:
                    logger.info("a job left processes that stay: %s goes", self._name)
                    self._kill(_END)
                    return
                time.sleep(_LOOK)
                report = self._shell.report_again(deadline, output) or report
            # The engine remembers that of a container, not of a job.
            if report.out_of_memory > self._before.report.out_of_memory:
                logger.info("a process of a job ran out of memory: %s goes", self._name)
                return
            self.after = Idle(report=report, counted=self._counted)

    def _ended(
        self, report: Report | None, since: float, metrics: dict[str, Any], output: JobOutput
    ) -> ContainerEnded:
        """After a failure: what the engine says of the container, which ends with it."""
        self._watch.wait_until(time.monotonic() + _END)
        state = self._watch.state()
        self._shell.drain(output)
        ended = self._watch.outcome(state, metrics, since)
        if ended.exit_code:
            return ended
        if report is None:
            raise ServiceError(f"container {self._name} ended without a word on its job")
        return replace(ended, exit_code=report.status)

    def _stop(self, grace: float, output: JobOutput) -> int:
        """SIGTERM, the grace, SIGKILL; the exit code. In time also with a slow engine."""
        grace_ends = time.monotonic() + grace
        self.latest = grace_ends + SLOW_ENGINE
        try:
            self._terminate(grace_ends)
            report = self._shell.report(grace_ends, output)
        except ShellGoneError:
            return KILLED
        if report is not None:
            return report.status
        self._kill(self.latest - time.monotonic())
        self._shell.drain(output)
        return KILLED

    def _terminate(self, deadline: float) -> None:
        """SIGTERM to the job's first process, as in a container of its own."""
        script = _TERMINATE.format(pid=self._before.report.pid)
        with self._watch.timeout(max(0.1, min(SLOW_ENGINE, deadline - time.monotonic()))):
            try:
                made = self._client.exec_create(self._name, ["sh", "-c", script])
                self._client.exec_start(made["Id"], detach=True)
            except (DockerException, requests.RequestException) as exc:
                logger.debug("SIGTERM in %s: %s", self._name, one_line(exc))

    def _kill(self, patience: float) -> bool:
        """Have all of it killed; whether it was gone within `patience` seconds."""
        deadline = time.monotonic() + patience
        self._watch.signal("SIGKILL", deadline)
        return self._shell.gone(deadline)

    @contextmanager
    def _measured(self, metrics: dict[str, Any]) -> Iterator[None]:
        """Put what a job uses into `metrics`."""
        began = time.monotonic()
        # The engine counts from the container's start.
        sampler = StatsSampler(self._client, self._name, before=self._counted)
        try:
            yield
        finally:
            metrics.update(sampler.finish(), seconds=time.monotonic() - began)
            self._counted = sampler.counted
