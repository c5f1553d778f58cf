"""Kinds of VMs that may be asked for, in the order in which they are wanted."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from fleet.keeping.sight import SeenVm
from messaging.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Offer:
    """A machine type in a place, Spot or not."""

    #: A zone, or a region in which Compute Engine chooses.
    place: str
    machine_type: str
    spot: bool
    #: Jobs that such a VM runs at the same time.
    slots: int = 1

    @property
    def is_region(self) -> bool:
        """Whether the place is a region."""
        return self.place.count("-") == 1

    def has(self, vm: SeenVm) -> bool:
        """Whether that VM is of this kind."""
        here = vm.zone == self.place or (self.is_region and self.covers(vm.zone))
        return here and vm.spot == self.spot and vm.machine_type == self.machine_type

    def covers(self, zone: str) -> bool:
        """Whether a VM of this kind may be in that zone."""
        return zone == self.place or zone.rpartition("-")[0] == self.place

    def __str__(self) -> str:
        return f"{'Spot ' if self.spot else ''}{self.machine_type} in {self.place}"


def make_offers(
    places: Sequence[str],
    machine_types: Sequence[str],
    *,
    spot: bool,
    on_demand: bool,
    threads: int | None,
) -> tuple[Offer, ...]:
    """Spot before on-demand, then by machine type, then by place. Raises UsageError.

    `threads` are the jobs at the same time of each VM; None is one for each of its CPUs.
    """
    markets = [True] * spot + [False] * (on_demand or not spot)
    return tuple(
        Offer(place=place, machine_type=kind, spot=market, slots=threads or cpus_of(kind))
        for market in markets
        for kind in machine_types
        for place in places
    )


def cpus_of(machine_type: str) -> int:
    """The CPUs of a machine type, by its name; raises UsageError when that does not tell.

    ``n2-standard-8`` and ``n2-custom-8-4096`` have 8.
    """
    match = re.search(r"custom-(\d+)-\d+|-(\d+)(?:-lssd)?$", machine_type)
    if match:
        return int(match[1] or match[2])
    if machine_type in ("e2-micro", "e2-small", "e2-medium"):
        return 2
    if machine_type in ("f1-micro", "g1-small"):
        return 1
    raise UsageError(
        f"the name of machine type {machine_type} does not tell how many jobs it runs at the same "
        "time: say so by -m threads=N"
    )
