"""What a keeper decides: case by case."""

from __future__ import annotations

import itertools

import pytest

from fleet.keeping.decision import End, decide
from fleet.keeping.memory import Making, Memory, after_making
from fleet.keeping.offers import Offer
from tests.fleet.keeping.worlds import (
    DEMAND_A,
    DEMAND_B,
    SPOT_A,
    SPOT_B,
    policy,
    sight,
    vm,
    vms,
)


def rests(*offers: Offer, until: float = 1000.0) -> Memory:
    """A memory in which these rest."""
    memory = Memory(looked=True)
    for offer in offers:
        memory = memory.put_aside(offer, until, 0.0)
    return memory


def test_there_is_a_vm_for_each_job_up_to_the_maximum() -> None:
    few = decide(sight(0, ready=3, running=1), Memory(), policy())
    assert few.make == Making(offer=SPOT_A, base=0, count=4)
    many = decide(sight(0, ready=300), Memory(), policy())
    assert many.make == Making(offer=SPOT_A, base=0, count=10)


def test_slots_are_counted_and_not_vms() -> None:
    large = Offer(place="europe-west4", machine_type="n2-standard-8", spot=False, slots=8)
    decision = decide(sight(0, ready=17), Memory(), policy(offers=(large,)))
    assert decision.make == Making(offer=large, base=0, count=3)


def test_a_keeper_that_starts_again_counts_the_vms_that_are_there() -> None:
    decision = decide(sight(0, (vm(3), vm(7)), ready=4), Memory(), policy())
    assert decision.make == Making(offer=SPOT_A, base=8, count=2)


def test_the_minimum_is_kept_while_work_remains() -> None:
    rules = policy(min_vms=3)
    assert decide(sight(0, waiting=5), Memory(), rules).make == Making(
        offer=SPOT_A, base=0, count=3
    )
    assert decide(sight(0, running=1, waiting=5), Memory(), rules).make == Making(
        offer=SPOT_A, base=0, count=3
    )
    assert decide(sight(0), Memory(), rules).make is None


def test_a_few_seconds_work_is_no_reason_for_a_fleet() -> None:
    short = decide(sight(0, ready=300, job_seconds=1.0), Memory(), policy(worth_seconds=120))
    assert short.make == Making(offer=SPOT_A, base=0, count=3)
    any_work = decide(sight(0, ready=300, job_seconds=1.0), Memory(), policy(worth_seconds=0))
    assert any_work.make == Making(offer=SPOT_A, base=0, count=10)


def test_a_lost_vm_is_replaced() -> None:
    before = decide(sight(0, vms(10), ready=90, running=10), Memory(), policy())
    assert before.make is None
    after = decide(sight(10, vms(9), ready=91, running=9), before.memory, policy())
    assert [lost.name for lost in after.lost] == ["sim-9"]
    assert after.make == Making(offer=SPOT_A, base=10, count=1)


def test_one_that_goes_when_there_is_too_little_work_is_no_loss() -> None:
    before = decide(sight(0, vms(10), running=2), Memory(), policy())
    after = decide(sight(10, vms(9), running=2), before.memory, policy())
    assert (after.lost, after.make) == ((), None)


def test_one_that_is_on_its_way_out_has_its_place_still() -> None:
    going = (*vms(9), vm(9, status="STOPPING"))
    decision = decide(sight(0, going, ready=50), Memory(), policy())
    assert (decision.make, decision.remove) == (None, ())


def test_one_that_has_stopped_is_deleted() -> None:
    seen = (vm(0), vm(1, status="TERMINATED"), vm(2, status="PROVISIONING"))
    assert decide(sight(0, seen, running=2), Memory(), policy()).remove == ("sim-1",)


def test_after_a_stock_out_the_next_place_then_on_demand_then_nothing_is_asked_for() -> None:
    memory, rules = Memory(), policy()
    for offer in (SPOT_A, SPOT_B, DEMAND_A, DEMAND_B):
        decision = decide(sight(0, ready=5), memory, rules)
        assert decision.make is not None
        assert decision.make.offer == offer
        memory = after_making(decision.memory, decision.make, (), 0, rules)
    decision = decide(sight(0, ready=5), memory, rules)
    assert (decision.make, decision.waits) == (None, True)


def test_names_are_not_used_twice_though_nothing_came_of_them() -> None:
    decision = decide(sight(0, ready=5), Memory(), policy())
    assert decision.make is not None
    memory = after_making(decision.memory, decision.make, (), 0, policy())
    again = decide(sight(1, ready=5), memory, policy())
    assert again.make is not None
    assert again.make.base == 5


def test_spot_is_asked_again_after_its_rest_which_grows() -> None:
    rules = policy()
    memory, now, asked = rests(SPOT_B, DEMAND_A, DEMAND_B, until=1e9), 0.0, []
    for _ in range(2_500):
        decision = decide(sight(now, ready=5), memory, rules)
        memory = decision.memory
        if decision.make is not None:
            asked.append(now)
            memory = after_making(memory, decision.make, (), now, rules)
        now += 10
    pauses = [later - earlier for earlier, later in itertools.pairwise(asked)]
    assert pauses[:5] == [300, 600, 1200, 2400, 3600]
    assert set(pauses[5:]) == {3600}


def test_a_partial_success_counts_what_was_made() -> None:
    decision = decide(sight(0, ready=5), Memory(), policy())
    assert decision.make is not None
    memory = after_making(decision.memory, decision.make, vms(2), 0, policy())
    again = decide(sight(1, vms(2), ready=5), memory, policy())
    assert again.make == Making(offer=SPOT_B, base=5, count=3)


def test_after_many_preemptions_another_place_is_asked_and_spot_again_later() -> None:
    rules = policy()
    memory = decide(sight(0, vms(10), ready=90), Memory(), rules).memory
    after = decide(sight(10, vms(7), ready=90), memory, rules)
    assert after.make is not None
    assert after.make.offer == SPOT_B
    later = decide(sight(10 + rules.window_seconds, vms(7), ready=90), after.memory, rules)
    assert later.make is not None
    assert later.make.offer == SPOT_A


def test_a_few_preemptions_of_a_large_fleet_are_nothing_special() -> None:
    rules = policy(max_vms=100)
    memory = decide(sight(0, vms(100), ready=900), Memory(), rules).memory
    after = decide(sight(10, vms(95), ready=900), memory, rules)
    assert after.make is not None
    assert after.make.offer == SPOT_A


def test_vms_in_a_zone_that_cannot_be_seen_are_still_there() -> None:
    seen = (*vms(5), *(vm(number, SPOT_B) for number in range(5, 10)))
    before = decide(sight(0, seen, ready=90), Memory(), policy())
    blind = decide(sight(10, vms(5), "europe-west4-b", ready=90), before.memory, policy())
    assert (blind.lost, blind.make) == ((), None)
    back = decide(sight(20, vms(5), ready=90), blind.memory, policy())
    assert len(back.lost) == 5


def test_what_the_first_look_cannot_see_might_be_a_whole_fleet() -> None:
    blind = decide(sight(0, (), "europe-west4-b", ready=90), Memory(), policy())
    assert blind.make is None
    elsewhere = decide(sight(0, (), "us-central1-f", ready=90), Memory(), policy())
    assert elsewhere.make is not None


def test_it_ends_when_there_was_nothing_to_do_for_a_while() -> None:
    rules = policy(quiet_seconds=30)
    memory = decide(sight(0, vms(2), running=1, ended=5), Memory(), rules).memory
    quiet = decide(sight(10, vms(2), ended=6), memory, rules)
    assert quiet.end is None
    again = decide(sight(20, vms(2), ready=1, ended=6), quiet.memory, rules)
    quiet = decide(sight(30, vms(2), ended=7), again.memory, rules)
    assert decide(sight(59, vms(2), ended=7), quiet.memory, rules).end is None
    assert decide(sight(60, vms(2), ended=7), quiet.memory, rules).end is End.DONE
    assert decide(sight(1e6, ended=7), quiet.memory, policy(stay=True)).end is None


def test_work_that_only_waits_is_no_end() -> None:
    memory = decide(sight(0, vms(2), waiting=1), Memory(), policy()).memory
    assert decide(sight(1e6, vms(2), waiting=1), memory, policy()).end is None


@pytest.mark.parametrize("runs", [0, 1])
def test_vms_that_end_one_after_the_other_without_a_job_end_it(runs: int) -> None:
    rules = policy(offers=(DEMAND_A,), failures=3)
    memory, ends = Memory(), []
    for turn in range(8):
        alive = (vm(turn, DEMAND_A),) if turn % 2 else ()
        decision = decide(sight(900.0 * turn, alive, ready=1, running=runs), memory, rules)
        memory = decision.memory
        ends.append(decision.end)
    assert (ends[-1] is End.FAILING) is (runs == 0)
