"""What a keeper remembers from one look to the next; never changed, only replaced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from fleet.keeping.offers import Offer
from fleet.keeping.policy import Policy
from fleet.keeping.sight import SeenVm


@dataclass(frozen=True, kw_only=True)
class Making:
    """VMs to be asked for: `count` of this kind, from number `base` on."""

    offer: Offer
    base: int
    count: int

    def __str__(self) -> str:
        return f"{self.count} of {self.offer}"


@dataclass(frozen=True, kw_only=True)
class Rest:
    """An offer is not asked before `until`; `seconds` is for how long it was put aside."""

    until: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Memory:
    """At the beginning empty."""

    #: Whether there was a look at all.
    looked: bool = False
    #: The VMs that lived, by name.
    living: Mapping[str, SeenVm] = field(default_factory=dict)
    #: Whether all of them had work, so that none can have gone for want of it.
    busy: bool = False
    #: The number of the next VM: names are not used twice.
    next_number: int = 0
    rests: Mapping[Offer, Rest] = field(default_factory=dict)
    #: When a VM of which offer was preempted, as far back as it counts.
    preempted: tuple[tuple[float, Offer], ...] = ()
    #: VMs that no preemption explains the loss of, since a job last ran.
    failures: int = 0
    #: Jobs that had ended.
    ended: int = 0
    #: Since when there is nothing to do.
    quiet_since: float | None = None

    def resting(self, now: float) -> set[Offer]:
        """Offers that are not to be asked for."""
        return {offer for offer, rest in self.rests.items() if rest.until > now}

    def put_aside(self, offer: Offer, seconds: float, now: float) -> Memory:
        """This offer is not asked for so long."""
        rest = Rest(until=now + seconds, seconds=seconds)
        return replace(self, rests={**self.rests, offer: rest})


def after_making(
    memory: Memory, making: Making, made: Sequence[SeenVm], now: float, policy: Policy
) -> Memory:
    """What is remembered once it is known which of them were made.

    Missing ones put the offer aside, twice as long as the last time unless it was good since.
    """
    # Also those that failed: a request that was given up may have made them all the same.
    number = max(memory.next_number, making.base + making.count)
    living = {**memory.living, **{vm.name: vm for vm in made}}
    memory = replace(memory, next_number=number, living=living)
    if len(made) < making.count:
        last = memory.rests.get(making.offer)
        seconds = 2 * last.seconds if last and not made else policy.stock_out_seconds
        return memory.put_aside(making.offer, min(seconds, policy.longest_rest_seconds), now)
    rests = {offer: rest for offer, rest in memory.rests.items() if offer != making.offer}
    return replace(memory, rests=rests)
