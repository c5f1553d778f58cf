"""Changes to VMs that there are: deleted, or told something by their metadata. VM by VM."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fleet.api import Api, Failure, NeverEndedError, Pending
from fleet.attributes import merged
from fleet.errors import ComputeError
from fleet.vms import Outcome, Vm
from messaging.errors import NotFoundError, ServiceError

#: Requests at the same time: Compute Engine takes some 20 a second of a project.
PARALLEL = 8
#: Called with how many of how many are settled.
Progress = Callable[[int, int], None]
#: How often a VM's attributes are read again because somebody else was quicker.
_ATTEMPTS = 8


def quiet(_done: int, _total: int) -> None:
    """Progress that nobody watches."""


def delete_vms(api: Api, vms: Sequence[Vm], progress: Progress = quiet) -> list[Outcome]:
    """Delete them and wait for their end; one that is gone already is well."""

    def start(vm: Vm) -> Pending | None:
        try:
            return api.delete(vm.zone, vm.name)
        except NotFoundError:
            return None

    return _each(api, vms, start, progress)


def set_metadata(
    api: Api, vms: Sequence[Vm], changes: Mapping[str, str | None], progress: Progress = quiet
) -> list[Outcome]:
    """Change these attributes on all of them (None removes one) and leave their others alone."""

    def start(vm: Vm) -> Pending | None:
        for attempt in range(_ATTEMPTS):
            try:
                return api.set_metadata(vm.zone, vm.name, changed_metadata(api, vm, changes))
            except ComputeError as exc:
                if exc.code != "conditionNotMet" or attempt == _ATTEMPTS - 1:
                    raise
                # Somebody else's change came between: read it, and keep it.
                time.sleep(random.uniform(0, min(1.0, 0.05 * 2**attempt)))
        raise AssertionError("the last attempt returns or raises")

    return _each(api, vms, start, progress)


def changed_metadata(api: Api, vm: Vm, changes: Mapping[str, str | None]) -> dict[str, Any]:
    """The body of setMetadata: all attributes as they are now, with the changes made."""
    items, fingerprint = api.metadata(vm.zone, vm.name)
    attributes = merged(items, changes)
    return {
        "fingerprint": fingerprint,
        "items": [{"key": key, "value": value} for key, value in attributes.items()],
    }


def _each(
    api: Api, vms: Sequence[Vm], start: Callable[[Vm], Pending | None], progress: Progress
) -> list[Outcome]:
    """Start on all, then wait for all; what came of each, in order."""

    def started(vm: Vm) -> Pending | Failure | None:
        try:
            return start(vm)
        except ComputeError as exc:
            return Failure(exc.code, exc.message)
        except (ServiceError, NotFoundError) as exc:
            return Failure("", str(exc))

    until = time.monotonic() + api.patience.operation
    with ThreadPoolExecutor(PARALLEL, thread_name_prefix="fleet") as threads:
        try:
            operations = list(threads.map(started, vms))
        except BaseException:
            threads.shutdown(cancel_futures=True)
            raise
    return list(_ends(api, vms, operations, until, progress))


def _ends(
    api: Api,
    vms: Sequence[Vm],
    operations: Sequence[Pending | Failure | None],
    until: float,
    progress: Progress,
) -> Iterable[Outcome]:
    for number, (vm, operation) in enumerate(zip(vms, operations, strict=True), 1):
        failure = operation if isinstance(operation, Failure) else None
        if isinstance(operation, Pending):
            try:
                failure = api.wait(operation, until)
            except NeverEndedError as exc:
                failure = Failure("NEVER_ENDED", str(exc).partition(":")[0])
            except ServiceError as exc:
                failure = Failure("", str(exc))
        progress(number, len(vms))
        if failure is None:
            yield Outcome(name=vm.name, ok=True, zone=vm.zone)
        else:
            yield Outcome(
                name=vm.name, ok=False, zone=vm.zone, code=failure.code, reason=failure.message
            )
