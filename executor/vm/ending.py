"""What becomes of the VM when its executor has ended, well or not."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from executor.settings import ExecutorSettings
from executor.vm.deletion import delete_this_vm
from executor.vm.place import Vm
from messaging.errors import PortfireError, UsageError
from messaging.settings import load

log = logging.getLogger(__name__)

#: What must be known even when the other settings are wrong.
_UPKEEP = ("development", "linger_seconds")


class Ending:
    """Whether and when this VM is to be deleted."""

    def __init__(self, vm: Vm | None, flags: Mapping[str, Any], environ: Mapping[str, str]) -> None:
        self._vm = vm
        #: Why the VM is kept, whatever happens; none when it is not.
        self.kept_for = ""
        self._linger = 0.0
        if vm is None:
            self.kept_for = "there is none"
            return
        self._linger, development = _upkeep(vm, flags, environ)
        if development:
            self.kept_for = "development"
        elif vm.is_shared:
            self.kept_for = "it is a Kubernetes node"
        elif sys.stdin is not None and sys.stdin.isatty():
            self.kept_for = "the executor was started from a terminal"

    def obey(self, settings: ExecutorSettings) -> None:
        """These are the settings, now that they have been read."""
        self._linger = settings.linger_seconds
        if settings.development and self._vm is not None:
            self.kept_for = "development"

    def delete(self) -> None:
        """Delete the VM, unless it is kept. Raises PortfireError."""
        if self._vm is None:
            return
        if self.kept_for:
            log.info("this VM is kept: %s", self.kept_for)
            return
        gone = delete_this_vm(self._vm.host)
        log.warning("VM %s is being deleted: its executor has ended", gone.name)

    @contextmanager
    def after_errors(self) -> Iterator[None]:
        """Within, an error is logged, time is given to look at the VM, then it is deleted.

        The error goes on. A signal ends the waiting, and the VM stays.
        """
        try:
            yield
        except Exception as exc:
            if self._vm is not None and not self.kept_for:
                self._linger_for(exc)
            raise

    def _linger_for(self, error: Exception) -> None:
        what = str(error) if isinstance(error, PortfireError) else repr(error)
        log.error(
            "%s; this VM will be deleted in %g s: to keep it, stop this service, to look at it",
            " ".join(what.split()),
            self._linger,
            exc_info=not isinstance(error, PortfireError),
        )
        threading.Event().wait(self._linger)
        try:
            self.delete()
        except PortfireError as exc:
            log.error("%s", exc)


def _upkeep(vm: Vm, flags: Mapping[str, Any], environ: Mapping[str, str]) -> tuple[float, bool]:
    """Seconds to linger, and whether this is for development: read apart from all else."""
    variables = ExecutorSettings.environment_names()
    wanted = {variables[name] for name in _UPKEEP}
    try:
        settings = load(
            ExecutorSettings,
            flags={name: flags.get(name) for name in _UPKEEP},
            environ={name: value for name, value in environ.items() if name in wanted},
            attributes={name: vm.attributes[name] for name in _UPKEEP if name in vm.attributes},
        )
    except UsageError:
        settings = ExecutorSettings()
        return settings.linger_seconds, bool(flags.get("development"))
    return settings.linger_seconds, settings.development
