"""Sights and policies for tests of decisions."""

from __future__ import annotations

from typing import Any

from fleet.keeping.offers import Offer, make_offers
from fleet.keeping.policy import Policy
from fleet.keeping.sight import Demand, SeenVm, Sight

ZONES = ("europe-west4-a", "europe-west4-b")
SPOT_A, SPOT_B, DEMAND_A, DEMAND_B = make_offers(
    ZONES, ["n2-standard-2"], spot=True, on_demand=True, threads=1
)


def policy(**fields: Any) -> Policy:
    """Spot in two zones, then on-demand; at most 10 VMs of one slot."""
    return Policy(**{"offers": (SPOT_A, SPOT_B, DEMAND_A, DEMAND_B), "max_vms": 10, **fields})


def vm(number: int, offer: Offer = SPOT_A, status: str = "RUNNING") -> SeenVm:
    """One of that kind."""
    return SeenVm(
        name=f"sim-{number}",
        zone=offer.place,
        machine_type=offer.machine_type,
        spot=offer.spot,
        status=status,
        slots=offer.slots,
    )


def vms(count: int, offer: Offer = SPOT_A) -> tuple[SeenVm, ...]:
    """So many, from number 0 on."""
    return tuple(vm(number, offer) for number in range(count))


def sight(now: float, seen: tuple[SeenVm, ...] = (), *unseen: str, **demand: Any) -> Sight:
    """A look."""
    return Sight(now=now, demand=Demand(**demand), vms=seen, unseen=frozenset(unseen))
