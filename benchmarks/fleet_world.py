"""A day of a simulated fleet: jobs, VMs that start, work, idle and are preempted, and a market.

Only the decisions are the real ones (`fleet.keeping.decision`); all else happens here, by a seed.
Times are seconds since the beginning.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from fleet.keeping.decision import Decision, decide
from fleet.keeping.memory import Making, Memory, after_making
from fleet.keeping.policy import Policy
from fleet.keeping.sight import Demand, SeenVm, Sight

HOUR = 3600.0


@dataclass(frozen=True, kw_only=True)
class Market:
    """How Compute Engine behaves."""

    #: Preemptions per hour of a Spot VM.
    preemption_rate: float = 0.05
    #: Between asking for a VM and its first job.
    start_seconds: float = 90.0
    #: At these times each zone takes back that share of its Spot VMs, one zone after the other.
    raids: tuple[float, ...] = ()
    raid_share: float = 0.5
    #: Spot VMs cannot be had in the zone of that number, from one time to another.
    stock_outs: tuple[tuple[int, float, float], ...] = ()
    #: Until a job of a preempted VM is given to another.
    lease_seconds: float = 60.0
    #: After so long without a job a VM deletes itself.
    idle_seconds: float = 900.0
    #: In the API's currency per VM and hour.
    spot_price: float = 0.3
    on_demand_price: float = 1.0


@dataclass
class _Machine:
    """A VM, with one slot."""

    seen: SeenVm
    made: float
    idle_since: float
    #: The job that it runs (its length, then its layer), and which run of the VM that is.
    job: float | None = None
    run: int = 0
    started: float = 0.0


@dataclass
class Outcome:
    """What a day came to."""

    makespan: float = 0.0
    spot_hours: float = 0.0
    on_demand_hours: float = 0.0
    #: Hours of work that preemptions made worthless.
    wasted_hours: float = 0.0
    preempted: int = 0
    made: int = 0
    refused: int = 0
    most: int = 0
    looks: int = 0
    #: VMs that were there when the keeper ended.
    left: int = 0

    def cost(self, market: Market) -> float:
        """In the market's currency."""
        return self.spot_hours * market.spot_price + self.on_demand_hours * market.on_demand_price


@dataclass
class World:
    """One run. `layers` are the jobs' lengths; each layer waits for the one before."""

    layers: list[list[float]]
    market: Market
    policy: Policy
    seed: int = 0
    interval: float = 30.0
    #: By name.
    machines: dict[str, _Machine] = field(default_factory=dict)
    outcome: Outcome = field(default_factory=Outcome)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._events: list[tuple[float, int, str, object]] = []
        self._ready: list[float] = []
        self._idle: list[str] = []
        self._left_in_layer = 0
        self._layer = -1
        self._ended = 0
        self._number = 0
        self._now = 0.0
        self._lengths: list[float] = []
        self._zones = sorted({offer.place for offer in self.policy.offers})

    def run(self) -> Outcome:
        """Live through it."""
        self._open_layer()
        for time in self.market.raids:
            for place, zone in enumerate(self._zones):
                self._at(time + 600.0 * place, "raid", zone)
        memory = Memory()
        for now in self._looks():
            self._pass_until(now)
            decision = decide(self._sight(now), memory, self.policy)
            memory = self._act(decision, now)
            if decision.end is not None:
                break
        self.outcome.left = len(self.machines)
        for name in list(self.machines):
            self._remove(name)
        return self.outcome

    # The keeper's side --------------------------------------------------------------------------

    def _looks(self) -> Iterator[float]:
        now = 0.0
        while now < 7 * 24 * HOUR:
            self.outcome.looks += 1
            yield now
            now += self.interval
        raise AssertionError("the work did not end within a week")

    def _sight(self, now: float) -> Sight:
        running = sum(machine.job is not None for machine in self.machines.values())
        waiting = sum(map(len, self.layers[self._layer + 1 :]))
        open_jobs = self._left_in_layer
        last = self._lengths[-200:]
        return Sight(
            now=now,
            demand=Demand(
                ready=open_jobs - running,
                running=running,
                waiting=waiting,
                ended=self._ended,
                job_seconds=sum(last) / len(last) if last else None,
            ),
            vms=tuple(machine.seen for machine in self.machines.values()),
        )

    def _act(self, decision: Decision, now: float) -> Memory:
        making = decision.make
        if making is None or decision.end is not None:
            return decision.memory
        made = [self._start(making, making.base + step) for step in range(self._room(making, now))]
        self.outcome.made += len(made)
        self.outcome.refused += making.count - len(made)
        self.outcome.most = max(self.outcome.most, len(self.machines))
        return after_making(decision.memory, making, made, now, self.policy)

    def _room(self, making: Making, now: float) -> int:
        out = any(
            making.offer.spot and making.offer.place == self._zones[zone] and since <= now < until
            for zone, since, until in self.market.stock_outs
            if zone < len(self._zones)
        )
        return 0 if out else making.count

    # The world's side ---------------------------------------------------------------------------

    def _start(self, making: Making, number: int) -> SeenVm:
        offer = making.offer
        seen = SeenVm(
            name=f"sim-{number}",
            zone=offer.place,
            machine_type=offer.machine_type,
            spot=offer.spot,
            status="RUNNING",
            slots=1,
        )
        up = self._now + self.market.start_seconds
        self.machines[seen.name] = _Machine(seen, self._now, up)
        self._at(up, "up", seen.name)
        if offer.spot:
            life = self._random.expovariate(self.market.preemption_rate / HOUR)
            self._at(self._now + life, "preempt", seen.name)
        return seen

    def _at(self, time: float, what: str, which: object) -> None:
        self._number += 1
        heapq.heappush(self._events, (time, self._number, what, which))

    def _pass_until(self, now: float) -> None:
        while self._events and self._events[0][0] <= now:
            self._now, _, what, which = heapq.heappop(self._events)
            getattr(self, f"_on_{what}")(which)
        self._now = now

    def _open_layer(self) -> None:
        if self._layer + 1 < len(self.layers):
            self._layer += 1
            self._left_in_layer = len(self.layers[self._layer])
            self._ready.extend(self.layers[self._layer])
            self._hand_out()

    def _hand_out(self) -> None:
        while self._ready and self._idle:
            machine = self.machines.get(self._idle.pop())
            if machine is None or machine.job is not None:
                continue
            machine.job, machine.started = self._ready.pop(), self._now
            machine.run += 1
            self._at(self._now + machine.job, "end", (machine.seen.name, machine.run))

    def _rest(self, machine: _Machine) -> None:
        machine.job, machine.idle_since = None, self._now
        self._idle.append(machine.seen.name)
        self._at(self._now + self.market.idle_seconds, "idle", (machine.seen.name, machine.run))
        self._hand_out()

    def _on_up(self, name: str) -> None:
        if name in self.machines:
            self._rest(self.machines[name])

    def _on_end(self, which: tuple[str, int]) -> None:
        machine = self.machines.get(which[0])
        if machine is None or machine.run != which[1] or machine.job is None:
            return
        self._lengths.append(machine.job)
        self._ended += 1
        self._left_in_layer -= 1
        self.outcome.makespan = self._now
        if not self._left_in_layer:
            self._open_layer()
        self._rest(machine)

    def _on_idle(self, which: tuple[str, int]) -> None:
        machine = self.machines.get(which[0])
        if machine is not None and machine.run == which[1] and machine.job is None:
            self._remove(which[0])

    def _on_preempt(self, name: str) -> None:
        machine = self.machines.get(name)
        if machine is None:
            return
        self.outcome.preempted += 1
        if machine.job is not None:
            self.outcome.wasted_hours += (self._now - machine.started) / HOUR
            self._at(self._now + self.market.lease_seconds, "lapse", machine.job)
        self._remove(name)

    def _on_lapse(self, job: float) -> None:
        self._ready.append(job)
        self._hand_out()

    def _on_raid(self, zone: str) -> None:
        for name, machine in list(self.machines.items()):
            in_it = machine.seen.zone == zone and machine.seen.spot
            if in_it and self._random.random() < self.market.raid_share:
                self._on_preempt(name)

    def _remove(self, name: str) -> None:
        machine = self.machines.pop(name)
        hours = (self._now - machine.made) / HOUR
        if machine.seen.spot:
            self.outcome.spot_hours += hours
        else:
            self.outcome.on_demand_hours += hours


def bound(layers: list[list[float]], market: Market, vms: int) -> tuple[float, float]:
    """Makespan (seconds) and cost that nobody can beat who knows everything beforehand.

    Spot VMs only, of which none is ever preempted with a job on it, nor idles; a layer takes at
    least its longest job, and what the VMs share among them.
    """
    spans = (max(max(layer), math.fsum(layer) / vms) for layer in layers)
    work = math.fsum(length for layer in layers for length in layer)
    return market.start_seconds + math.fsum(spans), work / HOUR * market.spot_price
