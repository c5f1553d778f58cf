"""Runs one launch in a slot's child process: FireWorks' Rocket on a LaunchPadProxy."""

from __future__ import annotations

import dataclasses
import functools
import logging
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

from fireworks.core.firework import Firework
from fireworks.core.fworker import FWorker
from fireworks.core.rocket import Rocket
from fireworks.fw_config import ROCKET_STREAM_LOGLEVEL
from fireworks.utilities.fw_utilities import get_fw_logger

from executor.command_task import CommandTask
from executor.context import JobContext
from executor.docker_task import DockerTask
from executor.failures import PhaseError, Retry, one_line
from executor.files.between import FilesBetween, store_if_possible
from executor.last_output import last_lines
from executor.launchpad_proxy import LaunchPadProxy, UnusableFireworkError
from executor.outcome import LaunchEnded, fizzled
from executor.policy import PolicyError
from executor.probe import TaskProbe
from executor.records import LaunchPing
from executor.task_names import check_firetasks
from messaging.wire import LaunchJob

RunTask = Callable[[dict[str, Any]], Any]


class RocketRun:
    """One launch. `run` returns how it ended, or None when it was interrupted meanwhile."""

    def __init__(
        self,
        job: LaunchJob,
        context: JobContext,
        *,
        on_ping: Callable[[LaunchPing], None],
        interrupted: Callable[[], bool],
    ) -> None:
        self._job = job
        self._context = context
        self._phase = "job"
        self._reason: str | None = None
        self._retry: Retry = ""
        self._proxy = LaunchPadProxy(job, on_ping=on_ping, interrupted=interrupted)
        self._proxy.on_checkout = self._prepare
        self._proxy.on_end = self._hand_over
        self._files = FilesBetween(context, attempt=f"{job.job}-{job.attempt}")

    def run(self) -> LaunchEnded | None:
        """Run the Rocket in the working directory. Lets JobInterrupted through."""
        try:
            check_firetasks(self._job.firework, self._context.policy)
            fworker = FWorker.from_dict(self._job.fworker)
            Rocket(self._proxy, fworker, self._job.fw_id).run()
        except (UnusableFireworkError, PolicyError) as exc:
            return fizzled(str(exc), stacktrace=traceback.format_exc())
        except PhaseError as exc:
            text = traceback.format_exc()
            return fizzled(exc.reason, phase=exc.phase, stacktrace=text, retry=exc.retry)
        except Exception as exc:  # noqa: BLE001 - whatever escapes a Rocket is this launch's failure
            text = traceback.format_exc()
            return fizzled(f"the Rocket failed: {_named(exc)}", stacktrace=text)
        finally:
            self._files.settle()
        return self._ended()

    def _ended(self) -> LaunchEnded | None:
        ended = self._proxy.ended
        if ended is None:
            # Either interrupted, or a Rocket that found nothing to do.
            return None
        if ended.state == "COMPLETED":
            return ended
        reason = self._reason or _last_line(ended.action)
        return dataclasses.replace(ended, phase=self._phase, reason=reason, retry=self._retry)

    def _prepare(self, firework: Firework) -> None:
        self._observe_tasks(firework)
        self._files.bring(firework)

    def _hand_over(self, action: dict[str, Any], state: str) -> dict[str, Any]:
        if state == "FIZZLED":
            return store_if_possible(self._files, action, self._proxy.launch_dir)
        try:
            return self._files.handed_over(action, self._proxy.launch_dir)
        except PhaseError as exc:
            self._note(exc)
            raise

    def _note(self, failure: PhaseError) -> None:
        self._phase, self._reason, self._retry = failure.phase, failure.reason, failure.retry

    def _observe_tasks(self, firework: Firework) -> None:
        if not firework.tasks:
            # FireWorks' Rocket takes such a Firework for none at all and leaves it RUNNING.
            raise UnusableFireworkError("the Firework has no tasks: give it one, then add it again")
        for task in firework.tasks:
            # Set on the instance, where it is found before the class's method.
            task.run_task = self._observed(task, task.run_task)

    def _observed(self, task: Any, run_task: RunTask) -> RunTask:
        """`run_task`, its failure noted, its execution told of (our own tasks tell themselves)."""

        @functools.wraps(run_task)
        def observed(fw_spec: dict[str, Any]) -> Any:
            self._files.settle()
            try:
                if isinstance(task, (CommandTask, DockerTask)):
                    return run_task(fw_spec)
                return self._told(task.fw_name, run_task, fw_spec)
            except PhaseError as exc:
                self._note(exc)
                raise
            except BaseException as exc:
                self._phase, self._reason = "execution", _named(exc)
                raise

        return observed

    def _told(self, name: str, run_task: RunTask, fw_spec: dict[str, Any]) -> Any:
        self._context.emit("job.execution.started", executable=name)
        began, probe = time.monotonic(), TaskProbe()
        failure: dict[str, Any] = {}
        try:
            return run_task(fw_spec)
        except BaseException as exc:
            failure = {"error": _named(exc), "output": last_lines([traceback.format_exc()])}
            raise
        finally:
            self._context.emit(
                "job.execution.finished",
                executable=name,
                exit_code=1 if failure else 0,
                time=time.monotonic() - began,
                metrics=probe.end(),
                **failure,
            )


class _QuietLogger(logging.Logger):
    """Lets warnings and errors through only, whatever is asked of it.

    FireWorks' launcher prints two lines per task, which events tell too. A record that nobody
    prints costs a short task more than its event.
    """

    def setLevel(self, level: int | str) -> None:  # noqa: ARG002, N802 - logging's signature
        if self.level != logging.WARNING:
            super().setLevel(logging.WARNING)


def quiet_fireworks() -> None:
    """Let FireWorks' launcher speak up, on standard error, only when something is wrong."""
    usual = logging.getLoggerClass()
    logging.setLoggerClass(_QuietLogger)
    launcher = get_fw_logger("rocket.launcher", stream_level=ROCKET_STREAM_LOGLEVEL)
    logging.setLoggerClass(usual)
    for handler in list(launcher.handlers):
        launcher.removeHandler(handler)
    launcher.propagate = False
    launcher.addHandler(logging.StreamHandler(sys.stderr))


def _named(exc: BaseException) -> str:
    """One line that names the exception, as the last line of a traceback does."""
    name = type(exc).__name__
    text = one_line(exc)
    return name if text == name else f"{name}: {text}"


def _last_line(action: dict[str, Any]) -> str:
    trace = str(action["stored_data"].get("_exception", {}).get("_stacktrace", ""))
    lines = trace.strip().splitlines()
    return lines[-1] if lines else "the launch failed"
