"""How a fleet is to be kept: what the user wants. Times are seconds."""

from __future__ import annotations

from dataclasses import dataclass

from fleet.keeping.offers import Offer
from messaging.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Limits, and how soon to think better of it."""

    #: What may be asked for; the first that is to be had is taken.
    offers: tuple[Offer, ...]
    #: VMs at the same time, at most.
    max_vms: int
    #: VMs while there is any work, at least.
    min_vms: int = 0
    #: A VM is made only if there is so much work for each of its slots, by the last jobs' lengths.
    worth_seconds: float = 120.0
    #: An offer that was out of stock is asked again after this, and after ever twice as long.
    stock_out_seconds: float = 300.0
    longest_rest_seconds: float = 3600.0
    #: So many Spot VMs of an offer lost within the window, and this share of them, rest it as long.
    preemptions: int = 3
    preempted_share: float = 0.25
    window_seconds: float = 1800.0
    #: After so many VMs that ended by themselves though there was work, and none of it was done.
    failures: int = 3
    #: There must be nothing to do for so long before it is over.
    quiet_seconds: float = 30.0
    #: Go on when there is nothing to do.
    stay: bool = False
    #: VMs that are asked for at a time.
    at_once: int = 100

    def __post_init__(self) -> None:
        """Raises UsageError naming what is wrong."""
        if self.max_vms < 1:
            raise UsageError(f"--max is {self.max_vms}: at least 1 VM")
        if not 0 <= self.min_vms <= self.max_vms:
            raise UsageError(f"--min is {self.min_vms}: from 0 to --max, {self.max_vms}")
        if self.preemptions < 1:
            raise UsageError(f"--preemptions is {self.preemptions}: 1 or more")
        if self.worth_seconds < 0:
            raise UsageError(f"--worth is {self.worth_seconds:g}: seconds, 0 or more")
        if not self.offers:
            raise UsageError("there is no machine type or place to make VMs of")
