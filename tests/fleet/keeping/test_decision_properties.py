"""What holds for every decision, whatever the world does."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.keeping.decision import Decision, decide
from fleet.keeping.memory import Memory, after_making
from fleet.keeping.policy import Policy
from fleet.keeping.sight import Demand, SeenVm, Sight
from tests.fleet.keeping.worlds import ZONES, policy

_MAX = 8

demands = st.builds(
    Demand,
    ready=st.integers(0, 30),
    running=st.integers(0, 10),
    waiting=st.integers(0, 3),
    ended=st.integers(0, 50),
    job_seconds=st.none() | st.floats(0, 1000),
)
statuses = st.sampled_from(["RUNNING", "STAGING", "STOPPING", "TERMINATED", "SUSPENDED"])


@dataclass
class World:
    """VMs that do what a test tells them."""

    rules: Policy
    now: float = 0.0
    memory: Memory = field(default_factory=Memory)
    vms: dict[str, SeenVm] = field(default_factory=dict)
    unseen: frozenset[str] = frozenset()

    def look(self, demand: Demand, share_made: float = 1.0) -> Decision:
        """One look; of the VMs that are asked for so many are made."""
        self.now += 10.0
        seen = tuple(vm for vm in self.vms.values() if vm.zone not in self.unseen)
        sight = Sight(now=self.now, demand=demand, vms=seen, unseen=self.unseen)
        decision = decide(sight, self.memory, self.rules)
        self.check(decision, demand)
        self.memory = decision.memory
        for name in decision.remove:
            del self.vms[name]
        if decision.make is not None:
            self._make(decision, share_made)
        return decision

    def check(self, decision: Decision, demand: Demand) -> None:
        """What must hold of any."""
        for name in decision.remove:
            assert not self.vms[name].lives
        if decision.end is not None:
            assert demand.running == 0
        making = decision.make
        if making is None:
            return
        assert 1 <= making.count <= self.rules.at_once
        living = sum(vm.lives for vm in self.vms.values())
        seen = sum(vm.zone not in self.unseen for vm in self.vms.values())
        # One that stopped before its zone could not be seen may be forgotten.
        assert max(living, seen) + making.count <= self.rules.max_vms
        assert making.offer not in self.memory.resting(self.now)
        names = {f"sim-{making.base + step}" for step in range(making.count)}
        assert not names & set(self.vms)

    def _make(self, decision: Decision, share: float) -> None:
        making = decision.make
        assert making is not None
        made = [
            SeenVm(
                name=f"sim-{making.base + step}",
                zone=making.offer.place,
                machine_type=making.offer.machine_type,
                spot=making.offer.spot,
                status="RUNNING",
                slots=making.offer.slots,
            )
            for step in range(int(making.count * share))
        ]
        self.vms.update({vm.name: vm for vm in made})
        self.memory = after_making(self.memory, making, made, self.now, self.rules)


@st.composite
def steps(draw: Any) -> list[tuple[Demand, float, list[int], str, set[str]]]:
    """Work, how much of what is asked for is made, which VMs change, to what, what is unseen."""
    step = st.tuples(
        demands,
        st.sampled_from([0.0, 0.5, 1.0]),
        st.lists(st.integers(0, 100), max_size=5),
        statuses | st.just("gone"),
        st.sets(st.sampled_from(ZONES)),
    )
    return list(draw(st.lists(step, max_size=25)))


@settings(deadline=None)
@given(steps=steps(), least=st.integers(0, _MAX), step_seconds=st.sampled_from([10.0, 700.0]))
def test_never_over_the_maximum_and_never_a_vm_deleted_that_works(
    steps: list[tuple[Demand, float, list[int], str, set[str]]], least: int, step_seconds: float
) -> None:
    world = World(policy(max_vms=_MAX, min_vms=least))
    for demand, share, which, status, unseen in steps:
        world.now += step_seconds
        for number in which if world.vms else []:
            names = sorted(world.vms)
            name = names[number % len(names)]
            world.vms[name] = replace(world.vms[name], status=status)
            if status == "gone":
                del world.vms[name]
            if not world.vms:
                break
        # What comes up in a zone after it cannot be seen any more is known of all the same.
        world.unseen = frozenset(unseen)
        world.look(demand, share)


@settings(deadline=None)
@given(
    demand=demands.filter(lambda demand: not demand.is_over),
    least=st.integers(0, _MAX),
    already=st.integers(0, _MAX),
)
def test_never_under_the_minimum_while_work_remains_and_no_flapping(
    demand: Demand, least: int, already: int
) -> None:
    world = World(policy(max_vms=_MAX, min_vms=least))
    if already:
        world.look(Demand(ready=already))
    world.look(demand)
    size = len(world.vms)
    assert size >= least
    assert size >= min(already, _MAX)
    for _ in range(30):
        decision = world.look(demand)
        assert (decision.make, decision.remove, decision.end) == (None, (), None)
    assert len(world.vms) == size


@settings(deadline=None)
@given(work=st.lists(st.integers(1, 30), min_size=1, max_size=30))
def test_the_fleet_never_grows_over_what_was_ever_wanted(work: list[int]) -> None:
    world = World(policy(max_vms=_MAX))
    for ready in work:
        world.look(Demand(ready=ready))
    assert len(world.vms) == min(max(work), _MAX)


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 10**6), troubles=st.integers(1, 60))
def test_whatever_happened_it_comes_back_to_spot(seed: int, troubles: int) -> None:
    world = World(policy(max_vms=_MAX))
    for turn in range(troubles):
        if (seed >> (turn % 20)) % 2:
            world.vms.clear()
        world.look(Demand(ready=20, running=1), share_made=float((seed >> (turn % 7)) % 2))
    world.now += world.rules.longest_rest_seconds
    world.look(Demand(ready=20, running=1))  # what was lost meanwhile puts nothing aside any more
    world.vms.clear()
    world.memory = replace(world.memory, living={})
    world.now += world.rules.longest_rest_seconds
    decision = world.look(Demand(ready=20, running=1))
    assert decision.make is not None
    assert decision.make.offer == world.rules.offers[0]
