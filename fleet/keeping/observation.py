"""What a look adds to the memory: which VMs were lost, and why; whether anything goes on. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection
from dataclasses import replace

from fleet.keeping.memory import Memory
from fleet.keeping.offers import Offer
from fleet.keeping.policy import Policy
from fleet.keeping.sight import Demand, SeenVm, Sight
from fleet.names import number_of


def observe(sight: Sight, memory: Memory, policy: Policy) -> tuple[Memory, tuple[SeenVm, ...]]:
    """The memory after this look, and the VMs that were lost though there was work for them."""
    living = living_vms(sight, memory)
    gone = [vm for name, vm in memory.living.items() if name not in living]
    # Else it may have idled for so long that it deleted itself, as it should.
    lost = tuple(gone) if memory.busy else ()
    numbers = [number_of(vm.name) + 1 for vm in sight.vms]
    memory = _with_losses(memory, lost, living.values(), sight.now, policy)
    moved = sight.demand.running > 0 or sight.demand.ended > memory.ended
    quiet_since = memory.quiet_since if memory.quiet_since is not None else sight.now
    return replace(
        memory,
        looked=True,
        living=living,
        busy=wanted_slots(sight.demand, policy) >= sum(vm.slots for vm in living.values()),
        next_number=max([memory.next_number, *numbers]),
        failures=0 if moved else memory.failures,
        ended=sight.demand.ended,
        quiet_since=quiet_since if sight.demand.is_over else None,
    ), lost


def living_vms(sight: Sight, memory: Memory) -> dict[str, SeenVm]:
    """VMs that live, by name; one in a zone that cannot be seen lives as it did."""
    unseen = {name: vm for name, vm in memory.living.items() if vm.zone in sight.unseen}
    return {**unseen, **{vm.name: vm for vm in sight.vms if vm.lives}}


def wanted_slots(demand: Demand, policy: Policy) -> int:
    """Slots that the work deserves: one for each job, but none for a few seconds' work."""
    if demand.job_seconds is None or not policy.worth_seconds:
        return demand.open
    worth = math.ceil(demand.open * demand.job_seconds / policy.worth_seconds)
    return min(demand.open, max(worth, 1))


def _with_losses(
    memory: Memory,
    lost: Collection[SeenVm],
    living: Collection[SeenVm],
    now: float,
    policy: Policy,
) -> Memory:
    since = now - policy.window_seconds
    preempted = [loss for loss in memory.preempted if loss[0] > since]
    preempted += [(now, offer) for vm in lost if vm.spot and (offer := _offer_of(vm, policy))]
    failed = sum(not vm.spot for vm in lost)
    memory = replace(memory, failures=memory.failures + failed)
    for offer, count in Counter(offer for _, offer in preempted).items():
        there = count + sum(offer.has(vm) for vm in living)
        if count >= max(policy.preemptions, policy.preempted_share * there):
            memory = memory.put_aside(offer, policy.window_seconds, now)
            # When it is asked again it begins with a clean slate.
            preempted = [loss for loss in preempted if loss[1] != offer]
    return replace(memory, preempted=tuple(preempted))


def _offer_of(vm: SeenVm, policy: Policy) -> Offer | None:
    return next((offer for offer in policy.offers if offer.has(vm)), None)
