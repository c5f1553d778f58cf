"""The fleet that is kept: a look at it, and what a decision asks for, by one engine per offer."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from fleet.compute_engine import ComputeEngine
from fleet.errors import ComputeError
from fleet.keeping.memory import Making
from fleet.keeping.offers import Offer, cpus_of
from fleet.keeping.sight import SeenVm
from fleet.vms import EXECUTOR, FLEET_LABEL, LABEL, Outcome, Vm
from messaging.errors import PortfireError, ServiceError, UsageError

log = logging.getLogger(__name__)

#: Between two looks whether VMs have gone, in seconds.
_LOOK_SECONDS = 1.0
#: How often those that are left are deleted again.
_DELETIONS = 3
Engines = Callable[[Offer], ComputeEngine]


class KeptFleet:
    """The VMs of one prefix. All methods block; for one thread."""

    def __init__(
        self,
        engine: ComputeEngine,
        engines: Engines,
        attributes: Mapping[str, str] | None = None,
        threads: int | None = None,
    ) -> None:
        """`engine` finds and deletes; `engines` gives what makes the VMs of an offer.

        VMs get these attributes; each runs `threads` jobs, or as many as it has CPUs.
        """
        self._engine = engine
        self._engines = engines
        self._attributes = dict(attributes or {})
        self._threads = threads
        self._vms: dict[str, Vm] = {}

    def look(self) -> tuple[tuple[SeenVm, ...], frozenset[str]]:
        """The VMs that there are, and the zones that cannot be seen; raises PortfireError."""
        labels = {LABEL: EXECUTOR, FLEET_LABEL: self._engine.prefix}
        vms, unseen = self._engine.api.vms(labels)
        self._vms = {vm.name: vm for vm in vms}
        return tuple(map(self._seen, vms)), frozenset(unseen)

    def make(self, making: Making) -> list[Outcome]:
        """Ask for these; what came of each. Raises UsageError, ServiceError.

        Interrupted, it takes away what it made of them.
        """
        try:
            return self._engines(making.offer).create(
                making.base, making.count, attributes=self._attributes
            )
        except ComputeError as exc:
            # Refused as a whole: each of them was.
            names = self._engine.make_names(making.base, making.count)
            failed = {"zone": making.offer.place, "code": exc.code, "reason": exc.message}
            return [Outcome(name=name, ok=False, **failed) for name in names]

    def remove(self, names: Sequence[str]) -> list[Outcome]:
        """Delete these, as they were seen last."""
        return self._engine.delete_vms([self._vms[name] for name in names if name in self._vms])

    def made(self, outcomes: Sequence[Outcome], offer: Offer) -> list[SeenVm]:
        """Those that were made, as they will be seen."""
        return [
            SeenVm(
                name=outcome.name,
                zone=outcome.zone,
                machine_type=offer.machine_type,
                spot=offer.spot,
                status="RUNNING",
                slots=offer.slots,
            )
            for outcome in outcomes
            if outcome.ok
        ]

    def dismiss(self, patience: float) -> list[str]:
        """Ask all to go when they idle, for so many seconds; then delete. Names of what is left."""
        try:
            if self.look()[0]:
                self._engine.quit_when_idle()
                self._wait_until_gone(patience)
        except PortfireError as exc:
            log.warning("%s", exc)
        return self.delete_all()

    def delete_all(self) -> list[str]:
        """Delete all VMs of the prefix, whatever they do; names of those that may be left."""
        left: list[str] = ["all of them"]
        for _ in range(_DELETIONS):
            try:
                vms, unseen = self.look()
                left = [vm.name for vm in vms] + [f"any in {zone}" for zone in sorted(unseen)]
                if not vms:
                    break
                self.remove([vm.name for vm in vms])
            except UsageError as exc:
                log.warning("%s", exc)
                break
            except PortfireError as exc:
                log.warning("%s", exc)
        return left

    def _wait_until_gone(self, seconds: float) -> None:
        pause, until = threading.Event(), time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                if not self.look()[0]:
                    return
            except ServiceError as exc:
                log.warning("%s", exc)
            pause.wait(_LOOK_SECONDS)

    def _seen(self, vm: Vm) -> SeenVm:
        try:
            slots = self._threads or cpus_of(vm.machine_type)
        except UsageError:
            slots = 1  # somebody else's choice of a machine
        return SeenVm(
            name=vm.name,
            zone=vm.zone,
            machine_type=vm.machine_type,
            spot=vm.spot,
            status=vm.status,
            slots=slots,
        )
