"""Deletes the VM that this process runs on, with the VM's own credentials."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path
from typing import Any

from executor.vm.place import Vm, read_identity
from messaging.errors import NotFoundError, PortfireError, ServiceError

log = logging.getLogger(__name__)

#: Another address of the Compute Engine API, by gcloud's own name for it.
ENDPOINT_VARIABLE = "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE"
_CALL_SECONDS = 30.0
#: Pauses between attempts, in seconds: after a zone's short outage the VM must still go.
_PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
#: In the service's runtime directory: asks systemd's ExecStopPost to switch the machine off.
_POWER_OFF = "power-off"


def delete_this_vm(host: str) -> Vm:
    """Have Compute Engine delete this VM; returns when it has agreed to, which VM that is.

    What may pass is tried again for a minute. Raises PortfireError, saying what to do; then the
    service manager has been asked to switch the machine off, if it listens.
    """
    try:
        return _try(host)
    except PortfireError:
        ask_for_power_off()
        raise


def ask_for_power_off() -> bool:
    """Leave word for our service's ExecStopPost (fleet/portfire-executor.service); whether we did.

    A VM that is off costs no more than its disk.
    """
    directory = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    if not directory:
        return False
    try:
        (Path(directory) / _POWER_OFF).touch()
    except OSError as exc:
        log.warning("cannot ask for the VM to be switched off: %s", exc)
        return False
    return True


def _try(host: str) -> Vm:
    for pause in (*_PAUSES, None):
        try:
            vm = read_identity(host)
            _delete(vm)
        except (ServiceError, NotFoundError) as exc:
            if pause is None:
                raise
            log.warning("%s; trying again", exc)
            threading.Event().wait(pause)
        else:
            return vm
    raise AssertionError("the last attempt returns or raises")


def _delete(vm: Vm) -> None:
    """Ask once. Raises ServiceError when asking again may help, else PortfireError."""
    # Imported late: it takes seconds, and most executors never delete anything.
    from google.api_core import exceptions
    from google.auth.exceptions import GoogleAuthError

    try:
        _client().delete_unary(
            project=vm.project, zone=vm.zone, instance=vm.name, timeout=_CALL_SECONDS
        )
    except exceptions.NotFound:
        return  # somebody else has deleted it already
    except (exceptions.Forbidden, exceptions.Unauthorized) as exc:
        raise PortfireError(
            f"may not delete VM {vm.name}: give its service account "
            f"compute.instances.delete and the VM the scope cloud-platform ({_brief(exc)})"
        ) from exc
    except exceptions.ClientError as exc:
        if not isinstance(exc, exceptions.TooManyRequests):
            raise PortfireError(f"cannot delete VM {vm.name}: {_brief(exc)}") from exc
        raise ServiceError(f"cannot delete VM {vm.name}: {_brief(exc)}") from exc
    except (exceptions.GoogleAPIError, GoogleAuthError, OSError) as exc:
        raise ServiceError(f"cannot delete VM {vm.name}: {_brief(exc)}") from exc


def _client() -> Any:
    from google.auth import compute_engine
    from google.cloud.compute_v1.services.instances import InstancesClient

    options = {}
    if endpoint := os.environ.get(ENDPOINT_VARIABLE):
        options["api_endpoint"] = endpoint.rstrip("/").removesuffix("/compute/v1")
    # Not the application-default ones: those may be somebody else's.
    return InstancesClient(credentials=compute_engine.Credentials(), client_options=options)


def _brief(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
