"""What daemons do with their log: the flags, the default for where they run, and the end."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from pydantic import Field, ValidationInfo, field_validator

from commands.logs.console import JsonFormatter, console
from messaging.errors import PortfireError, UsageError
from messaging.settings import Settings, load

if TYPE_CHECKING:
    from commands.logs.cloud_handler import CloudLogHandler
    from commands.logs.cloud_service import Resource
    from executor.vm.place import Vm

log = logging.getLogger(__name__)

#: Logger of what tasks print (`executor.task_log`).
_TASKS = "portfire.task"
#: How long the end may take for the last entries, in seconds.
_END_SECONDS = 5.0


_FORMATS = ("text", "json", "cloud")
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


class LogSettings(Settings):
    """Form, place and detail of a daemon's log."""

    log_format: Literal["text", "json", "cloud"] | None = Field(
        default=None,
        description="text, json or cloud; default: cloud on a VM of Compute Engine, else text.",
        json_schema_extra={"env": "PORTFIRE_LOG_FORMAT"},
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] | None = Field(
        default=None,
        description="The least that is logged; default: INFO.",
        json_schema_extra={"env": "PORTFIRE_LOG_LEVEL"},
    )

    @field_validator("log_format", "log_level", mode="before")
    @classmethod
    def _any_case(cls, text: object, field: ValidationInfo) -> object:
        if not isinstance(text, str):
            return text
        other = text.upper() if field.field_name == "log_level" else text.lower()
        return other if other in (*_FORMATS, *_LEVELS) else text


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Declare `--log-format` and `--log-level`."""
    parser.add_argument(
        "--log-format",
        choices=_FORMATS,
        help="text for people, json for collectors (both on standard error), or cloud: text, and "
        "all of it to Google Cloud Logging (PORTFIRE_LOG_FORMAT; cloud on a VM of Compute Engine, "
        "else text)",
    )
    parser.add_argument(
        "--log-level",
        type=str.upper,
        choices=_LEVELS,
        help="the least that is logged (PORTFIRE_LOG_LEVEL; INFO)",
    )


class DaemonLog:
    """One daemon's log, while it runs."""

    def __init__(
        self,
        settings: LogSettings,
        cloud: CloudLogHandler | None,
        problem: UsageError | None = None,
    ) -> None:
        self._settings = settings
        self._cloud = cloud
        self._problem = problem
        self._labels: dict[str, str] = {}
        self._level = logging.getLevelName(settings.log_level) if settings.log_level else None

    @property
    def is_cloud(self) -> bool:
        """Whether it goes to Cloud Logging."""
        return self._cloud is not None

    @property
    def wants_tasks(self) -> bool:
        """Whether what tasks print belongs to it, unless somebody said otherwise."""
        return self.is_cloud and self._level in (None, logging.DEBUG)

    def check(self) -> None:
        """Raises UsageError when its settings are wrong: only where that can be dealt with."""
        if self._problem is not None:
            raise self._problem

    def open(self) -> None:
        """Give the console its form and its level."""
        root, handler = logging.getLogger(), console()
        if handler is not None and self._settings.log_format == "json":
            handler.setFormatter(JsonFormatter(self._labels))
        if self._level is not None:
            root.setLevel(self._level)
            if handler is not None:
                handler.setLevel(self._level)
        if self._cloud is not None:
            least = self._level or min(logging.INFO, root.level or logging.INFO)
            # A filter, not the handler's level: tasks' lines are below it. FireWorks' loggers are
            # at DEBUG whatever the root says.
            self._cloud.addFilter(lambda it: it.levelno >= least or it.name == _TASKS)
            root.addHandler(self._cloud)

    def identify(self, **labels: str) -> None:
        """Who logs, as is now known: labels of all records. The log service hears from it now."""
        self._labels.update({name: value for name, value in labels.items() if value})
        if self._cloud is not None:
            self._cloud.begin(self._labels)

    def show_tasks(self) -> None:
        """What tasks print goes where the rest goes: to the cloud, or else to standard error."""
        logger = logging.getLogger(_TASKS)
        logger.setLevel(logging.DEBUG)
        logger.propagate = False
        if self._cloud is not None:
            # Not by way of the root, whose other handlers would show them too.
            logger.addHandler(self._cloud)
            return
        handler = logging.StreamHandler()
        if self._settings.log_format == "json":
            handler.setFormatter(JsonFormatter(self._labels))
        else:
            handler.setFormatter(logging.Formatter("%(asctime)s TASK %(message)s"))
        logger.addHandler(handler)

    def flush(self) -> None:
        """Have the log service take what waits, for a few seconds at most."""
        if self._cloud is not None:
            self._cloud.send_all(_END_SECONDS)

    def tell(self, error: PortfireError) -> None:
        """Why the daemon ends, for the log service alone: the console hears it from the command."""
        if self._cloud is not None:
            fields = {"name": "portfire", "levelno": logging.CRITICAL, "msg": "%s"}
            self._cloud.handle(logging.makeLogRecord({**fields, "args": (str(error),)}))

    def close(self) -> None:
        """The last words; on the console how many did not arrive."""
        if self._cloud is None:
            return
        lost = self._cloud.end(_END_SECONDS)
        for name in (None, _TASKS):
            logging.getLogger(name).removeHandler(self._cloud)
        if lost:
            log.warning("%d log entries did not reach Cloud Logging", lost)


@contextmanager
def daemon_log(args: argparse.Namespace, vm: Vm | None, *, on_vm: bool) -> Iterator[DaemonLog]:
    """The log of a daemon, on a VM or not. Wrong settings of it are what `check` raises.

    `on_vm`: what the VM's attributes say counts, as they are this daemon's. An error that ends the
    daemon is told to the log service as well.
    """
    daemon = _make(args, vm, vm.attributes if vm is not None and on_vm else {})
    daemon.open()
    try:
        yield daemon
    except PortfireError as exc:
        daemon.tell(exc)
        raise
    finally:
        daemon.close()


def _make(args: argparse.Namespace, vm: Vm | None, attributes: Mapping[str, str]) -> DaemonLog:
    if getattr(args, "stop_with_parent", False):
        return DaemonLog(LogSettings(), None)  # a part of `portfire run` speaks as that does
    flags = {name: getattr(args, name, None) for name in LogSettings.model_fields}
    try:
        settings = load(LogSettings, flags=flags, environ=os.environ, attributes=attributes)
        if settings.log_format is None and _belongs_in_the_cloud(args, vm):
            settings = settings.model_copy(update={"log_format": "cloud"})
        return DaemonLog(settings, _cloud(args, vm) if settings.log_format == "cloud" else None)
    except UsageError as exc:
        return DaemonLog(LogSettings(), None, exc)


def vm_that_logs(args: argparse.Namespace) -> Vm | None:
    """The VM on which this is, if its log may be wanted in the cloud."""
    from executor.vm.metadata import this_metadata_host
    from executor.vm.place import describe_vm

    host = None if _emulated(args) else this_metadata_host()
    return describe_vm(host) if host is not None else None


def _belongs_in_the_cloud(args: argparse.Namespace, vm: Vm | None) -> bool:
    """On a VM, unless it cannot even say whose it is: it shall run its jobs all the same."""
    return vm is not None and bool(_project(args, vm)) and not _emulated(args)


def _emulated(args: argparse.Namespace) -> bool:
    """With an emulator of Pub/Sub nothing is meant for Google."""
    return bool(args.emulator_host or os.environ.get("PUBSUB_EMULATOR_HOST"))


def _cloud(args: argparse.Namespace, vm: Vm | None) -> CloudLogHandler:
    from commands.logs.cloud_handler import CloudLogHandler
    from commands.logs.cloud_service import CloudLogging

    project = _project(args, vm)
    if not project:
        raise UsageError("--log-format cloud needs a project: set GOOGLE_CLOUD_PROJECT")
    endpoint = os.environ.get("CLOUDSDK_API_ENDPOINT_OVERRIDES_LOGGING", "")
    resource = None if vm is None else lambda: _resource_of(vm)
    return CloudLogHandler(CloudLogging(project, endpoint, resource))


def _project(args: argparse.Namespace, vm: Vm | None) -> str:
    """The project whose log it is, or ``""``."""
    told = args.project or os.environ.get("GOOGLE_CLOUD_PROJECT", "")
    return told or (vm.project if vm else "")


def _resource_of(vm: Vm) -> Resource:
    """The VM, as Cloud Logging knows it."""
    from executor.vm.metadata import MetadataConnection

    try:
        number = MetadataConnection(vm.host).read("instance/id", 3.0).text.strip()
    except PortfireError:
        number = vm.name  # better than nothing to filter by
    labels = {"project_id": vm.project, "instance_id": number, "zone": vm.zone}
    return "gce_instance", labels
