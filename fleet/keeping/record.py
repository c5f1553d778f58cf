"""What a keeper did, for its last line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fleet.keeping.sight import SeenVm


@dataclass
class Record:
    """Counts, and VM hours as far as they were seen. For one thread."""

    made_spot: int = 0
    made_on_demand: int = 0
    #: VMs that went though there was work for them.
    lost: int = 0
    #: VMs that could not be had.
    refused: int = 0
    most: int = 0
    spot_hours: float = 0.0
    on_demand_hours: float = 0.0

    def add_made(self, *, spot: bool, count: int, refused: int) -> None:
        """So many were made, so many not."""
        if spot:
            self.made_spot += count
        else:
            self.made_on_demand += count
        self.refused += refused

    def add_time(self, vms: Iterable[SeenVm], seconds: float) -> None:
        """These were there for so long."""
        seen = list(vms)
        spot = sum(vm.spot for vm in seen)
        self.most = max(self.most, len(seen))
        self.spot_hours += spot * seconds / 3600
        self.on_demand_hours += (len(seen) - spot) * seconds / 3600

    def to_dict(self) -> dict[str, object]:
        """For JSON."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def __str__(self) -> str:
        return (
            f"made {self.made_spot} Spot and {self.made_on_demand} on-demand VMs, {self.most} at a "
            f"time at most; {self.lost} were lost while there was work, {self.refused} could not "
            f"be had; {self.spot_hours:.1f} Spot and {self.on_demand_hours:.1f} on-demand VM hours"
        )
