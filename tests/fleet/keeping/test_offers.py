"""Which kinds of VMs there are to choose from, and how many jobs each runs."""

from __future__ import annotations

from typing import Any

import pytest

from fleet.keeping.offers import Offer, cpus_of, make_offers
from messaging.errors import UsageError
from tests.fleet.keeping.worlds import policy, vm


def test_spot_is_first_then_the_machine_type_then_the_place() -> None:
    offers = make_offers(
        ["a-b-c", "a-b-d"], ["x-4", "y-2"], spot=True, on_demand=True, threads=None
    )
    assert [(offer.spot, offer.machine_type, offer.place[-1], offer.slots) for offer in offers] == [
        (True, "x-4", "c", 4),
        (True, "x-4", "d", 4),
        (True, "y-2", "c", 2),
        (True, "y-2", "d", 2),
        (False, "x-4", "c", 4),
        (False, "x-4", "d", 4),
        (False, "y-2", "c", 2),
        (False, "y-2", "d", 2),
    ]


def test_without_fallback_there_is_spot_only_and_without_spot_none() -> None:
    flags: dict[str, Any] = {"places": ["a-b-c"], "machine_types": ["x-4"], "threads": 1}
    assert [offer.spot for offer in make_offers(**flags, spot=True, on_demand=False)] == [True]
    assert [offer.spot for offer in make_offers(**flags, spot=False, on_demand=True)] == [False]
    assert [offer.spot for offer in make_offers(**flags, spot=False, on_demand=False)] == [False]


@pytest.mark.parametrize(
    ("machine_type", "cpus"),
    [
        ("n2-standard-8", 8),
        ("e2-medium", 2),
        ("f1-micro", 1),
        ("custom-6-20480", 6),
        ("n2-custom-4-8192", 4),
        ("c3-standard-88-lssd", 88),
    ],
)
def test_a_machine_type_s_name_tells_its_cpus(machine_type: str, cpus: int) -> None:
    assert cpus_of(machine_type) == cpus


def test_one_whose_name_does_not_tell_is_an_error_with_a_remedy() -> None:
    with pytest.raises(UsageError, match=r"a2-highgpu-1g .* -m threads=N"):
        cpus_of("a2-highgpu-1g")


def test_a_region_has_the_vms_of_its_zones() -> None:
    region = Offer(place="europe-west4", machine_type="n2-standard-2", spot=True)
    assert region.is_region
    assert region.has(vm(0))
    assert not Offer(place="europe-west", machine_type="n2-standard-2", spot=True).has(vm(0))
    assert not Offer(place="europe-west4", machine_type="n2-standard-2", spot=False).has(vm(0))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"max_vms": 0}, "--max is 0"),
        ({"min_vms": 11}, "--min is 11: from 0 to --max, 10"),
        ({"min_vms": -1}, "--min is -1"),
        ({"preemptions": 0}, "--preemptions is 0"),
        ({"worth_seconds": -1.0}, "--worth is -1"),
    ],
)
def test_policies_that_cannot_be_are_told(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        policy(**wrong)
