"""Makes the VMs of one batch, and takes them away again if that is interrupted.

In a zone each VM is a request of its own, so that each says for itself why it failed and tries the
next machine type; in a region it is one bulk request, and Compute Engine chooses zones and types.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from fleet.api import Api, Failure, NeverEndedError, Pending
from fleet.bodies import regional, zonal
from fleet.changes import PARALLEL, Progress, delete_vms, quiet
from fleet.errors import ComputeError, is_capacity
from fleet.plan import Plan
from fleet.vms import BATCH_LABEL, Outcome, Vm
from messaging.errors import NotFoundError, PortfireError, ServiceError, UsageError

log = logging.getLogger(__name__)

#: Codes of ours, for what may have been made all the same: `Batch.remove` takes it away.
NEVER_ENDED, NO_ANSWER = UNCERTAIN = ("NEVER_ENDED", "NO_ANSWER")
#: What operations are waited for when we clean up, in seconds at most.
_CLEANUP_SECONDS = 120.0


@dataclass
class Batch:
    """One call of `create`. `make` once; `remove` also after `make` failed. For one thread."""

    api: Api
    plan: Plan
    progress: Progress = quiet

    def __post_init__(self) -> None:
        self._started = False
        self._deadline = 0.0
        #: Operations that may still make a VM; threads that insert add to it.
        self._open: set[Pending] = set()

    @property
    def started(self) -> bool:
        """Whether there may be VMs of it."""
        return self._started

    def make(self, names: Sequence[str]) -> list[Outcome]:
        """Make these of the plan's; what came of each, in order.

        Raises PortfireError for what befalls all of them.
        """
        self._started = True
        self._deadline = time.monotonic() + self.api.patience.operation
        try:
            made = self._in_zone(names) if self.plan.place.zone else self._in_region(names)
        except NotFoundError as exc:
            # Such as a zone: what was asked for does not exist.
            raise UsageError(str(exc)) from exc
        return [made[name] for name in names]

    def vms(self) -> list[Vm]:
        """Those of this batch that there are."""
        found, unseen = self.api.vms({BATCH_LABEL: self.plan.extra.labels[BATCH_LABEL]})
        if unseen:
            log.warning("cannot see the VMs in %s now", ", ".join(unseen))
        return found

    # In a zone ----------------------------------------------------------------------------------

    def _in_zone(self, names: Sequence[str]) -> dict[str, Outcome]:
        settled: dict[str, Outcome] = {}
        left = list(names)
        for kind in self.plan.template.machine_types:
            last = kind == self.plan.template.machine_types[-1]
            again = []
            for name, failure in self._try(left, kind):
                if failure is not None and is_capacity(failure.code) and not last:
                    again.append(name)
                    continue
                settled[name] = self._outcome(name, kind, failure)
                self.progress(len(settled), len(names))
            if again:
                log.info("no room for %s of %d VMs: trying the next type", kind, len(again))
            left = again
        return settled

    def _try(self, names: Sequence[str], kind: str) -> Iterator[tuple[str, Failure | None]]:
        """All requests first, then their ends one by one: the operations go on side by side."""
        with ThreadPoolExecutor(PARALLEL, thread_name_prefix="insert") as threads:
            try:
                started = list(threads.map(lambda name: self._insert(name, kind), names))
            except BaseException:
                threads.shutdown(cancel_futures=True)
                raise
        for name, pending in zip(names, started, strict=True):
            yield name, pending if isinstance(pending, Failure) else self._end_of(pending)

    def _end_of(self, pending: Pending) -> Failure | None:
        try:
            failure = self.api.wait(pending, self._deadline)
        except NeverEndedError as exc:
            return Failure(NEVER_ENDED, str(exc).partition(":")[0])
        except ServiceError as exc:
            return Failure(NO_ANSWER, str(exc))
        self._open.discard(pending)
        return failure

    def _insert(self, name: str, kind: str) -> Pending | Failure:
        body = zonal(self.plan, name, kind)
        try:
            pending = self.api.insert(self.plan.place.zone, body)
        except ComputeError as exc:
            # Such as a name that is taken; what befalls all of them is raised.
            return Failure(exc.code, exc.message)
        except ServiceError as exc:
            return Failure(NO_ANSWER, str(exc))
        self._open.add(pending)
        return pending

    def _outcome(self, name: str, kind: str, failure: Failure | None) -> Outcome:
        if failure is None:
            return Outcome(name=name, ok=True, zone=self.plan.place.zone, machine_type=kind)
        return Outcome(
            name=name,
            ok=False,
            zone=self.plan.place.zone,
            machine_type=kind,
            code=failure.code,
            reason=failure.message,
        )

    # In a region --------------------------------------------------------------------------------

    def _in_region(self, names: Sequence[str]) -> dict[str, Outcome]:
        body = regional(self.plan, names)
        pending, group = self.api.bulk_insert(self.plan.place.region, body)
        self._open.add(pending)
        failure = self._end_of(pending)
        made = {vm.name: vm for vm in self.vms()}
        self.progress(len(made), len(names))
        parts: dict[str, Failure] = {}
        if len(made) < len(names) and group:
            parts = self._parts(group)
        unknown = failure or Failure("", "Compute Engine did not make it, and does not say why")
        outcomes = {}
        for name in names:
            if name in made and not (failure and failure.code in UNCERTAIN):
                vm = made[name]
                outcomes[name] = Outcome(
                    name=name, ok=True, zone=vm.zone, machine_type=vm.machine_type
                )
                continue
            why = parts.get(name, unknown)
            outcomes[name] = Outcome(name=name, ok=False, code=why.code, reason=why.message)
        return outcomes

    def _parts(self, group: str) -> dict[str, Failure]:
        """Why each failed; a bonus: without the right to see it, the whole's reason must do."""
        try:
            return self.api.failures_of_group(self.api.zones_of(self.plan.place.region), group)
        except PortfireError as exc:
            log.warning("cannot tell the VMs' own reasons: %s", exc)
            return {}

    # Cleaning up --------------------------------------------------------------------------------

    def remove(self, keep: Collection[str] = (), *, wait: bool = False) -> list[str]:
        """Delete the VMs of this batch that are not to be kept; names of what may be left.

        With `wait` those that are still on their way, too, which takes as long as they do. May be
        called again. Raises nothing but what interrupts it: what fails is told in the log.
        """
        until = time.monotonic() + min(_CLEANUP_SECONDS, self.api.patience.operation)
        try:
            left = self._delete(keep)
            for pending in list(self._open) if wait else ():
                try:
                    self.api.wait(pending, until)
                    self._open.discard(pending)
                except NeverEndedError:
                    break
                # It may have come up only now.
                left = self._delete(keep)
        except PortfireError as exc:
            log.warning("cannot clean up: %s", exc)
            return [f"those with label {BATCH_LABEL}={self.plan.extra.labels[BATCH_LABEL]}"]
        return left

    def _delete(self, keep: Collection[str]) -> list[str]:
        going = [vm for vm in self.vms() if vm.name not in keep]
        return [outcome.name for outcome in delete_vms(self.api, going) if not outcome.ok]


@contextmanager
def undone_on_error(batch: Batch) -> Iterator[None]:
    """Whatever ends the block early, an interrupt too, takes the batch's VMs with it."""
    try:
        yield
    except BaseException as exc:
        if batch.started:
            if isinstance(exc, KeyboardInterrupt):
                log.warning("interrupted: deleting the VMs made; interrupt again to leave them")
            if left := batch.remove(wait=True):
                log.warning("%s", left_over(left))
        raise


def left_over(names: Sequence[str]) -> str:
    """What to tell a person of VMs that could not be taken away."""
    return (
        f"VMs may be left: {', '.join(names)}: see `portfire gce list`, and delete them by "
        "`portfire gce delete`"
    )
