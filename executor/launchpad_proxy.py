"""LaunchPadProxy: what a Rocket needs of a LaunchPad, without a database.

FireWorks' own ``Rocket`` runs unchanged on top of it. `checkout_fw` answers from the job message;
`ping_launch` and `complete_launch` note what the executor then sends to the dispatcher.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any, Literal, NoReturn

import bson
from fireworks.core.firework import Firework, FWAction, Tracker
from fireworks.fw_config import PING_TIME_SECS
from fireworks.utilities.fw_serializers import load_object, recursive_dict

from executor.outcome import LaunchEnded
from executor.records import LaunchPing
from messaging.errors import JobError
from messaging.wire import LaunchJob

log = logging.getLogger(__name__)

#: Checkpoints of a job shorter than this are not worth a message.
PING_AFTER_SECONDS = 5.0


class UnusableFireworkError(JobError):
    """The Firework cannot be built here: a class that cannot be imported, a broken document."""


class NeedsDatabaseError(JobError, AttributeError):
    """A task asked for a part of the LaunchPad that only its database has.

    Also an AttributeError, so that ``hasattr`` and FireWorks' own probing get their answer.
    """


class LaunchPadProxy:
    """Stands in for the LaunchPad during one launch.

    `on_ping` is called for what the dispatcher should learn while the job runs; it must not block.
    `interrupted` tells whether the job was stopped: then its failure is none of its own, and is not
    taken as the launch's end. Called from the Rocket's thread and from its ping thread.
    """

    def __init__(
        self,
        job: LaunchJob,
        *,
        on_ping: Callable[[LaunchPing], None],
        interrupted: Callable[[], bool],
    ) -> None:
        #: How the launch ended; None while it runs or when it was interrupted.
        self.ended: LaunchEnded | None = None
        #: Called with the Firework as soon as it is built, before any of its tasks runs.
        self.on_checkout: Callable[[Firework], None] | None = None
        #: Given the FWAction (as of its `to_dict`) and the state that a launch is about to end
        #: with; what it returns is the action that counts. It may raise.
        self.on_end: Callable[[dict[str, Any], str], dict[str, Any]] | None = None
        self._job = job
        self._on_ping = on_ping
        self._interrupted = interrupted
        self._main = threading.get_ident()
        self._began = time.monotonic()
        self._lock = threading.RLock()  # guards what follows, and `ended`
        self._trackers = [Tracker.from_dict(tracker) for tracker in job.trackers]
        self._checkpoint: dict[str, Any] | None = None
        self._launch_dir = ""
        self._many_tasks = False

    def get_logdir(self) -> None:
        """No log directory: a job's log goes to its own files."""

    def log_message(self, level: int, message: str) -> None:
        """Write to the job's log."""
        log.log(level, "%s", message)

    def checkout_fw(
        self,
        fworker: Any,  # noqa: ARG002 - FireWorks' signature
        launch_dir: str,
        fw_id: int | None = None,  # noqa: ARG002 - FireWorks' signature
        host: str | None = None,  # noqa: ARG002 - FireWorks' signature
        ip: str | None = None,  # noqa: ARG002 - FireWorks' signature
        state: str = "RUNNING",
    ) -> tuple[Any, int]:
        """The Firework of the message; raises UnusableFireworkError saying what to do."""
        firework = _build(self._job.firework)
        firework.state = state
        self._launch_dir = launch_dir
        self._many_tasks = len(firework.tasks) > 1
        if self.on_checkout is not None:
            self.on_checkout(firework)
        return firework, self._job.launch_id

    @property
    def launch_dir(self) -> str:
        """Where the Rocket runs."""
        return self._launch_dir

    def change_launch_dir(self, launch_id: int, launch_dir: str) -> None:  # noqa: ARG002 - FireWorks' signature
        """The Firework has a ``_launch_dir`` of its own."""
        with self._lock:
            self._launch_dir = launch_dir

    def ping_launch(
        self,
        launch_id: int,  # noqa: ARG002 - FireWorks' signature
        ptime: Any = None,  # noqa: ARG002 - FireWorks' signature
        checkpoint: dict[str, Any] | None = None,
    ) -> None:
        """Read the tracked files and keep the checkpoint; send them on when they are worth it."""
        with self._lock:
            if self.ended is not None:
                return
            if checkpoint:
                # A copy: the Rocket goes on filling the dictionaries inside.
                self._checkpoint = recursive_dict(checkpoint)
            for tracker in self._trackers:
                tracker.track_file(self._launch_dir)
            ping = LaunchPing(self._checkpoint, self._tracked(), self._launch_dir)
        if self._is_worth_sending(checkpoint):
            self._on_ping(ping)

    def complete_launch(
        self,
        launch_id: int,  # noqa: ARG002 - FireWorks' signature
        action: FWAction | None = None,
        state: Literal["COMPLETED", "FIZZLED"] = "COMPLETED",
    ) -> None:
        """Keep how the launch ended; the executor reports it."""
        content: dict[str, Any] = (action or FWAction()).to_dict()
        # Raises for what MongoDB cannot hold (a number over 64 bits): the Rocket makes of it what
        # it makes of MongoDB's own refusal.
        bson.encode(content)
        if self._interrupted():
            return
        if self.on_end is not None:
            content = self.on_end(content, state)
        with self._lock:
            if self._interrupted():
                return
            self.ended = LaunchEnded(
                state=state,
                action=content,
                checkpoint=self._checkpoint,
                trackers=self._tracked(),
                launch_dir=self._launch_dir,
            )

    def restore_backup_data(self, launch_id: int, fw_id: int) -> None:  # noqa: ARG002 - as above
        """Forget the checkpoint: the launch's end is to look as if it had just begun."""
        with self._lock:
            self._checkpoint = None

    def __getattr__(self, name: str) -> NoReturn:
        raise NeedsDatabaseError(
            "the task needs the LaunchPad's database, which an executor does not have: "
            f"launchpad.{name}; run this Firework with rlaunch, or have the task return an FWAction"
        )

    def _tracked(self) -> list[dict[str, Any]] | None:
        return [tracker.to_dict() for tracker in self._trackers] or None

    def _is_worth_sending(self, checkpoint: dict[str, Any] | None) -> bool:
        if self._interrupted():
            return False
        elapsed = time.monotonic() - self._began
        if checkpoint is None:
            # The Rocket's main and ping threads both ping once more at the launch's end, of which
            # the dispatcher hears anyway.
            return threading.get_ident() != self._main and elapsed >= PING_TIME_SECS
        return elapsed > PING_AFTER_SECONDS or (self._many_tasks and checkpoint["_task_n"] > 0)


def _build(document: dict[str, Any]) -> Any:
    try:
        firework = Firework.from_dict(document)
        for task in firework.tasks:
            _ = task.run_task  # a dictionary without a _fw_name stays a dictionary
        return firework
    except Exception as exc:  # whatever a user's class raises
        raise UnusableFireworkError(_why_unusable(document, exc)) from exc


def _why_unusable(document: dict[str, Any], error: Exception) -> str:
    spec = document.get("spec")
    tasks = spec.get("_tasks") if isinstance(spec, dict) else None
    if not isinstance(tasks, list):
        return "the Firework's document is broken: spec._tasks is missing; add the workflow again"
    for task in tasks:
        name = task.get("_fw_name") if isinstance(task, dict) else None
        if name is None:
            return f"the Firework's document is broken: {task!r} is no task (it has no _fw_name)"
        try:
            load_object(dict(task))
        except Exception as exc:  # noqa: BLE001 - a user's class may raise whatever it likes
            return f"task {name} cannot be loaded on the executor: {_line(exc)}; {_remedy(exc)}"
    return f"the Firework's document cannot be read: {_line(error)}; add the workflow again"


def _remedy(error: Exception) -> str:
    if isinstance(error, ImportError) or "could not find a class" in str(error):
        return (
            "install its package in the executor's environment (or name it in ADD_USER_PACKAGES "
            "of FW_config.yaml there), then rerun the Firework"
        )
    return "correct the task's parameters, then rerun the Firework"


def _line(error: Exception) -> str:
    return " ".join("".join(traceback.format_exception_only(type(error), error)).split())
