"""What to do next, from what is seen and remembered: pure, so that it can be simulated.

======================================  =====================================================
what is seen                            what follows
======================================  =====================================================
more work than slots                    VMs of the first offer that does not rest, up to --max
a VM gone that had work                 the same: there are fewer slots now
stock-outs, or too many preemptions     that offer rests, so the next one is asked
the rest is over                        it is asked again: on-demand VMs are a passing thing
fewer jobs than slots                   nothing: executors that idle delete their own VMs
a VM that has stopped                   deleted; one that may work never is
nothing to do for a while               the end
VMs end, and nothing ever runs          the end: more of them would end in the same way
======================================  =====================================================
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import Enum

from fleet.keeping.memory import Making, Memory
from fleet.keeping.observation import observe, wanted_slots
from fleet.keeping.policy import Policy
from fleet.keeping.sight import SeenVm, Sight


class End(Enum):
    """Why there is nothing more to keep."""

    DONE = "nothing is left to do"
    FAILING = "VMs end by themselves, and no job runs on any"


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What to do now, and what to remember."""

    memory: Memory
    make: Making | None = None
    #: Names of VMs to delete: they have stopped.
    remove: tuple[str, ...] = ()
    #: VMs that went though there was work for them.
    lost: tuple[SeenVm, ...] = ()
    #: More VMs are wanted, and all offers rest.
    waits: bool = False
    end: End | None = None


def decide(sight: Sight, memory: Memory, policy: Policy) -> Decision:
    """What follows from this look."""
    first = not memory.looked
    memory, lost = observe(sight, memory, policy)
    stopped = tuple(vm.name for vm in sight.vms if vm.is_stopped)
    decision = Decision(memory=memory, remove=stopped, lost=lost)
    if end := _end(sight, memory, policy):
        return replace(decision, end=end)
    missing = _missing(sight, memory, policy)
    blind = first and any(offer.covers(zone) for offer in policy.offers for zone in sight.unseen)
    if missing.vms <= 0 or blind:
        return decision
    resting = memory.resting(sight.now)
    offer = next((offer for offer in policy.offers if offer not in resting), None)
    if offer is None:
        return replace(decision, waits=True)
    # For so many slots larger VMs need not be as many.
    count = min(missing.vms, max(math.ceil(missing.slots / offer.slots), missing.least))
    count = min(count, policy.at_once)
    return replace(decision, make=Making(offer=offer, base=memory.next_number, count=count))


@dataclass(frozen=True, kw_only=True)
class _Missing:
    """What the fleet lacks."""

    #: VMs for which there is room, if any are wanted.
    vms: int
    slots: int
    #: VMs, whatever their slots.
    least: int


def _missing(sight: Sight, memory: Memory, policy: Policy) -> _Missing:
    # Those that are on their way out still count: they have their share of quotas.
    names = set(memory.living) | {vm.name for vm in sight.vms}
    living = memory.living.values()
    slots = wanted_slots(sight.demand, policy) - sum(vm.slots for vm in living)
    least = 0 if sight.demand.is_over else policy.min_vms - len(living)
    wanted = slots > 0 or least > 0
    room = policy.max_vms - len(names)
    return _Missing(vms=room if wanted else 0, slots=max(slots, 0), least=max(least, 0))


def _end(sight: Sight, memory: Memory, policy: Policy) -> End | None:
    if memory.failures >= policy.failures:
        return End.FAILING
    quiet = memory.quiet_since
    if policy.stay or quiet is None or sight.now - quiet < policy.quiet_seconds:
        return None
    return End.DONE
