"""A simulated day of `portfire gce keep`: cost and makespan beside what perfect knowledge would do.

    python -m benchmarks.fleet_simulation [--vms 500] [--hours 14] [--seed 1] [--json]

Jobs of a heavy-tailed length in layers, of which each waits for the one before; Spot VMs that are
preempted one by one and in raids on a whole zone, stock-outs, VMs that take their time to start.
The decisions are those of `fleet.keeping`. Prices are parts of an on-demand VM's.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Sequence
from dataclasses import asdict, replace

from benchmarks.fleet_world import HOUR, Market, Outcome, World, bound
from fleet.keeping.offers import make_offers
from fleet.keeping.policy import Policy

_ZONES = ("europe-west4-a", "europe-west4-b", "europe-west4-c")
#: Parts of the work in each layer; between the large ones the fleet is needed by few.
_LAYERS = (0.05, 0.45, 0.02, 0.45, 0.03)
_MEDIAN_MINUTES, _SIGMA, _LONGEST_HOURS = 12.0, 1.1, 2.0


def make_layers(vms: int, hours: float, seed: int) -> list[list[float]]:
    """Jobs for so many VMs and hours: lognormal lengths, in seconds."""
    chance = random.Random(seed)
    layers = []
    for share in _LAYERS:
        layer: list[float] = []
        left = vms * hours * HOUR * share
        while left > 0:
            length = chance.lognormvariate(0.0, _SIGMA) * _MEDIAN_MINUTES * 60.0
            layer.append(min(length, _LONGEST_HOURS * HOUR))
            left -= layer[-1]
        layers.append(layer)
    return layers


def make_market(rate: float) -> Market:
    """A day's troubles: two raids, and hours in which Spot VMs are sold out."""
    return Market(
        preemption_rate=rate,
        raids=(4 * HOUR, 15 * HOUR),
        stock_outs=((0, 1 * HOUR, 5 * HOUR), (1, 3 * HOUR, 6 * HOUR), (2, 4 * HOUR, 5 * HOUR)),
    )


def make_policy(vms: int, *, spot: bool = True, on_demand: bool = True) -> Policy:
    """As the command's own defaults have it, in three zones."""
    offers = make_offers(_ZONES, ["n2-standard-2"], spot=spot, on_demand=on_demand, threads=1)
    return Policy(offers=offers, max_vms=vms)


def compare(vms: int, hours: float, rate: float, seed: int) -> dict[str, Outcome]:
    """The same work and market under three policies."""
    layers, market = make_layers(vms, hours, seed), make_market(rate)
    policies = {
        "Spot, then on-demand": make_policy(vms),
        "Spot only": make_policy(vms, on_demand=False),
        "on-demand only": make_policy(vms, spot=False),
    }
    return {name: World(layers, market, policy, seed).run() for name, policy in policies.items()}


def table(outcomes: dict[str, Outcome], market: Market, span: float, cost: float) -> str:
    """For people, and for the documentation."""
    lines = [
        "| policy | makespan, h | of the bound | cost, on-demand VM hours | of the bound "
        "| VM hours Spot, on-demand | made | preempted | work lost, h |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        f"| perfect knowledge | {span / HOUR:.1f} | 1.00 | {cost:.0f} | 1.00 | | | | |",
    ]
    lines += [
        f"| {name} | {day.makespan / HOUR:.1f} | {day.makespan / span:.2f} "
        f"| {day.cost(market):.0f} | {day.cost(market) / cost:.2f} "
        f"| {day.spot_hours:.0f}, {day.on_demand_hours:.0f} | {day.made} | {day.preempted} "
        f"| {day.wasted_hours:.0f} |"
        for name, day in outcomes.items()
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--vms", type=int, default=500)
    parser.add_argument("--hours", type=float, default=14.0, help="of work for all of them")
    parser.add_argument("--preemption-rate", type=float, default=0.05, help="per VM and hour")
    parser.add_argument("--spot-price", type=float, default=0.3, help="on-demand being 1")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(arguments)
    began = time.monotonic()
    outcomes = compare(args.vms, args.hours, args.preemption_rate, args.seed)
    took = time.monotonic() - began
    market = replace(make_market(args.preemption_rate), spot_price=args.spot_price)
    layers = make_layers(args.vms, args.hours, args.seed)
    span, cost = bound(layers, market, args.vms)
    if args.json:
        print(json.dumps({name: asdict(outcome) for name, outcome in outcomes.items()}, indent=1))
        return
    jobs = sum(map(len, layers))
    print(f"{jobs} jobs for {args.vms} VMs, simulated thrice in {took:.1f} s\n")
    print(table(outcomes, market, span, cost))


if __name__ == "__main__":
    main()
