"""The simulated day: whatever the market does, the work ends, within reason of what is possible."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.fleet_simulation import make_layers, make_market, make_policy
from benchmarks.fleet_world import HOUR, Market, World, bound

VMS, HOURS = 20, 4.0


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_small_day_ends_and_costs_less_than_without_spot(seed: int) -> None:
    layers, market = make_layers(VMS, HOURS, seed), make_market(0.05)
    span, cost = bound(layers, market, VMS)
    kept = World(layers, market, make_policy(VMS), seed).run()
    dear = World(layers, market, make_policy(VMS, spot=False), seed).run()
    assert kept.most <= VMS
    assert kept.preempted > 0
    assert span <= kept.makespan <= 3 * span
    assert cost <= kept.cost(market) < dear.cost(market)


def test_in_a_kind_world_it_comes_close_to_perfect_knowledge() -> None:
    jobs = [[600.0] * (VMS * 24)]
    market = Market(preemption_rate=1e-9)
    span, cost = bound(jobs, market, VMS)
    kept = World(jobs, market, make_policy(VMS)).run()
    assert kept.makespan <= 1.05 * span
    # The starts, and the look that finds that there is nothing more to do.
    assert kept.cost(market) <= 1.1 * cost
    assert kept.made == VMS


def test_without_any_spot_vms_on_demand_ones_do_the_work() -> None:
    jobs = [[600.0] * (VMS * 6)]
    never = tuple((zone, 0.0, 1e9) for zone in range(3))
    market = Market(stock_outs=never)
    kept = World(jobs, market, make_policy(VMS)).run()
    assert kept.spot_hours == 0
    assert kept.makespan <= 1.5 * HOUR


def test_the_same_seed_is_the_same_day() -> None:
    layers, market = make_layers(VMS, 1.0, 5), replace(make_market(0.2), raids=(HOUR,))
    assert layers == make_layers(VMS, 1.0, 5)
    days = [World(layers, market, make_policy(VMS), 7).run() for _ in range(2)]
    assert days[0] == days[1]
