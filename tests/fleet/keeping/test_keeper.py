"""The keeper's loop with a fake Compute Engine, whose VMs do nothing, and work as a test tells."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fleet.keeping.decision import End
from fleet.keeping.fleet import KeptFleet
from fleet.keeping.keeper import Keeper
from fleet.keeping.offers import Offer
from fleet.keeping.policy import Policy
from fleet.keeping.sight import Demand
from fleet.template import VmTemplate
from messaging.errors import ServiceError, UsageError
from tests.fleet.conftest import TEMPLATE, Engines
from tests.fleet.keeping.worlds import DEMAND_A, SPOT_A, SPOT_B, policy
from tests.services.gce import FakeGce, Fault

OVER = Demand(ended=9)
Fleet = Callable[[], KeptFleet]


@pytest.fixture
def fleet(engines: Engines) -> KeptFleet:
    """The fleet ``sim``."""

    def maker(offer: Offer) -> Any:
        kinds = (offer.machine_type,)
        template: VmTemplate = replace(TEMPLATE, spot=offer.spot, machine_types=kinds)
        return engines(zone=offer.place, template=template)

    return KeptFleet(engines(), maker, {"pool": "gpu"}, threads=1)


def keeper(fleet: KeptFleet, *work: Demand | Callable[[], Demand], **rules: Any) -> Keeper:
    """One that sees this work, look by look, and in the end that it is over."""
    left = list(work)

    def demand() -> Demand:
        now = left.pop(0) if left else OVER
        return now() if callable(now) else now

    return Keeper(fleet, demand, _quick(**rules), interval=0.01)


def _quick(**rules: Any) -> Policy:
    return policy(**{"quiet_seconds": 0.0, **rules})


def test_it_makes_what_is_wanted_replaces_what_is_lost_and_ends(
    gce: FakeGce, fleet: KeptFleet, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    def lose_one() -> Demand:
        gce.preempt("sim-1")
        return Demand(ready=3)

    kept = keeper(fleet, Demand(ready=3), Demand(ready=3), lose_one, Demand(ready=3))
    assert kept.run() is End.DONE
    assert gce.names == ["sim-0", "sim-2", "sim-3"]
    assert gce.attributes("sim-3") == {"pool": "gpu"}
    assert gce.vm("sim-3")["scheduling"]["provisioningModel"] == "SPOT"
    assert (kept.record.made_spot, kept.record.lost, kept.record.most) == (4, 1, 3)
    assert "lost: sim-1 in europe-west4-a, while there was work" in caplog.text
    # Nobody is there to idle: those that do not go are deleted.
    assert fleet.dismiss(0.1) == []
    assert gce.names == []


def test_those_that_are_dismissed_are_asked_first(gce: FakeGce, fleet: KeptFleet) -> None:
    keeper(fleet, Demand(ready=2)).run()
    told = []

    def obey(vm: dict[str, Any]) -> None:
        told.append(gce.attributes(vm["name"])["quit"])
        gce.world.remove(vm["zone"].rpartition("/")[2], vm["name"])

    gce.world.on_metadata = obey
    assert fleet.dismiss(20.0) == []
    assert told == ["when-idle", "when-idle"]
    assert gce.called("instances.delete") == []


def test_stock_outs_lead_from_zone_to_zone_and_to_on_demand(
    gce: FakeGce, fleet: KeptFleet, caplog: pytest.LogCaptureFixture
) -> None:
    gce.stock_out(zone="europe-west4-a", times=3)
    gce.stock_out(zone="europe-west4-b", times=1)
    kept = keeper(fleet, *[Demand(ready=2)] * 4)
    kept.run()
    models = sorted(gce.vm(name)["scheduling"]["provisioningModel"] for name in gce.names)
    assert models == ["SPOT", "STANDARD"]
    assert {gce.vm(name)["zone"].rpartition("/")[2] for name in gce.names} == {"europe-west4-b"}
    assert kept.record.refused == 4
    assert f"{SPOT_A} is not asked for 300 s" in caplog.text
    assert "not made: 2 VMs in europe-west4-a: ZONE_RESOURCE_POOL_EXHAUSTED" in caplog.text


def test_a_quota_that_is_refused_at_the_call_is_like_a_stock_out(
    gce: FakeGce, fleet: KeptFleet
) -> None:
    refused = Fault("instances.insert", 403, "quotaExceeded", "Quota 'CPUS' exceeded.", times=2)
    gce.faults.append(refused)
    keeper(fleet, *[Demand(ready=2)] * 3).run()
    assert {gce.vm(name)["zone"].rpartition("/")[2] for name in gce.names} == {"europe-west4-b"}


def test_one_that_has_stopped_is_deleted_and_replaced(gce: FakeGce, fleet: KeptFleet) -> None:
    def stop_one() -> Demand:
        gce.vm("sim-0")["status"] = "TERMINATED"
        return Demand(ready=1)

    keeper(fleet, Demand(ready=1), stop_one, Demand(ready=1)).run()
    assert gce.names == ["sim-1"]


def test_it_goes_on_when_it_cannot_look_for_a_while(
    gce: FakeGce, fleet: KeptFleet, caplog: pytest.LogCaptureFixture
) -> None:
    def away() -> Demand:
        raise ServiceError("cannot count Fireworks: the LaunchPad's MongoDB is away")

    kept = keeper(fleet, Demand(ready=1), away, away, away, Demand(ready=2))
    assert kept.run() is End.DONE
    assert len(gce.names) == 2
    assert caplog.text.count("MongoDB is away; looking again until it works") == 1


def test_a_first_look_that_fails_is_an_error(fleet: KeptFleet) -> None:
    def away() -> Demand:
        raise ServiceError("cannot count Fireworks: the LaunchPad's MongoDB is away")

    kept = keeper(fleet, away)
    with pytest.raises(ServiceError):
        kept.run()
    assert not kept.has_looked


def test_what_no_vm_can_be_made_with_is_an_error_at_first(gce: FakeGce, fleet: KeptFleet) -> None:
    wrong = replace(SPOT_A, machine_type="n9-standard-2")
    with pytest.raises(UsageError, match="n9-standard-2"):
        keeper(fleet, Demand(ready=1), offers=(wrong,)).run()
    assert gce.names == []


def test_and_later_another_kind_is_asked_for(
    gce: FakeGce, fleet: KeptFleet, caplog: pytest.LogCaptureFixture
) -> None:
    gce.stock_out(zone="europe-west4-a", times=1)
    wrong = replace(SPOT_B, machine_type="n9-standard-2")
    keeper(fleet, *[Demand(ready=1)] * 3, offers=(SPOT_A, wrong, DEMAND_A)).run()
    assert gce.vm(gce.names[0])["scheduling"]["provisioningModel"] == "STANDARD"
    assert "n9-standard-2" in caplog.text


def test_an_interrupt_while_vms_are_made_takes_those_away(gce: FakeGce, fleet: KeptFleet) -> None:
    kept = keeper(fleet, Demand(ready=1), Demand(ready=2))
    make = fleet.make

    def interrupted(making: Any) -> Any:
        if making.base == 0:
            return make(making)
        raise KeyboardInterrupt

    fleet.make = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        kept.run()
    assert kept.has_looked
    assert fleet.delete_all() == []
    assert gce.names == []


def test_vms_that_cannot_be_deleted_are_named(gce: FakeGce, fleet: KeptFleet) -> None:
    keeper(fleet, Demand(ready=1)).run()
    gce.faults.append(Fault("instances.delete", 403, "forbidden", "no", times=100))
    assert fleet.delete_all() == ["sim-0"]
