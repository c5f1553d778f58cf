"""VMs that there are: listed, told by their metadata, deleted; those of others are left alone."""

from __future__ import annotations

import pytest

from fleet.api import Patience
from fleet.compute_engine import list_all
from messaging.errors import UsageError
from tests.fleet.conftest import PROJECT, Engines
from tests.services.gce import FakeGce, Fault


def test_a_prefix_has_its_own_vms_only(gce: FakeGce, engines: Engines) -> None:
    engines("sim").create(count=2)
    engines("sim-1", zone="us-central1-a").create(count=2)
    assert [vm.name for vm in engines("sim").vms()] == ["sim-0", "sim-1"]
    assert [vm.zone for vm in engines("sim-1").vms()] == ["us-central1-a"] * 2
    everything = list_all(project=PROJECT, endpoint=gce.address)
    assert [vm.name for vm in everything] == ["sim-0", "sim-1", "sim-1-0", "sim-1-1"]
    assert [outcome.name for outcome in engines("sim").delete()] == ["sim-0", "sim-1"]
    assert gce.names == ["sim-1-0", "sim-1-1"]


def test_all_pages_are_read(gce: FakeGce, engines: Engines) -> None:
    engines().create(count=7)
    gce.methods.page_size = 2
    assert [vm.name for vm in engines().vms()] == [f"sim-{number}" for number in range(7)]
    assert len(gce.called("instances.aggregatedList")) >= 4


def test_a_zone_that_cannot_be_seen_is_told(
    gce: FakeGce, engines: Engines, caplog: pytest.LogCaptureFixture
) -> None:
    engines().create(count=1)
    gce.methods.unreachable.add("europe-west4-a")
    assert engines().vms() == []
    assert "the VMs in europe-west4-a cannot be seen now" in caplog.text


def test_vms_that_portfire_did_not_make_are_not_deleted(gce: FakeGce, engines: Engines) -> None:
    engines().create(count=2)
    with gce.world.lock:
        del gce.vm("sim-1")["labels"]["portfire"]
    assert [outcome.name for outcome in engines().delete(0, 2)] == ["sim-0"]
    assert gce.names == ["sim-1"]


def test_some_are_deleted_by_their_numbers(gce: FakeGce, engines: Engines) -> None:
    engines().create(count=5)
    deleted: list[str] = []
    gce.world.on_delete = lambda vm: deleted.append(vm["name"])
    engines().delete(1, 2)
    engines().delete(4)
    assert sorted(deleted) == ["sim-1", "sim-2", "sim-4"]
    assert gce.names == ["sim-0", "sim-3"]


def test_one_that_is_gone_already_is_deleted(gce: FakeGce, engines: Engines) -> None:
    engine = engines(options={"preemptible": ""})
    engine.create(count=2)
    vms = engine.vms()
    gce.preempt("sim-0")
    assert all(outcome.ok for outcome in engine.delete_vms(vms))


def test_what_is_not_deleted_says_why(gce: FakeGce, engines: Engines) -> None:
    engine = engines(patience=Patience(operation=0.7, retry=0.5))
    engine.create(count=3)
    gce.world.never_ends = lambda name: name == "sim-0"
    gce.faults.append(Fault("instances.delete", 409, "resourceInUse", "in use"))
    outcomes = engine.delete()
    assert [outcome.ok for outcome in outcomes].count(True) >= 1
    assert {outcome.code for outcome in outcomes if not outcome.ok} <= {
        "NEVER_ENDED",
        "resourceInUse",
    }
    assert any(outcome.code == "resourceInUse" for outcome in outcomes)


def test_metadata_is_set_on_all_and_the_rest_kept(gce: FakeGce, engines: Engines) -> None:
    engine = engines()
    engine.create(count=3, pool="gpu", old="1")
    outcomes = engine.set_metadata(attributes={"a": "x=1,y"}, remove=["old"])
    assert [outcome.ok for outcome in outcomes] == [True] * 3
    assert gce.attributes("sim-2") == {"pool": "gpu", "a": "x=1,y"}


@pytest.mark.parametrize(
    ("method", "value"), [("quit_soon", "soon"), ("quit_when_idle", "when-idle")]
)
def test_executors_are_asked_to_quit(
    gce: FakeGce, engines: Engines, method: str, value: str
) -> None:
    engine = engines()
    engine.create(count=3)
    getattr(engine, method)(1, 2)
    assert "quit" not in gce.attributes("sim-0")
    assert [gce.attributes(name)["quit"] for name in ("sim-1", "sim-2")] == [value, value]


def test_somebody_elses_change_at_the_same_time_is_kept(gce: FakeGce, engines: Engines) -> None:
    engine = engines()
    engine.create(count=2)
    gce.methods.conflicts = 5
    assert all(outcome.ok for outcome in engine.quit_soon())
    assert len(gce.called("instances.setMetadata")) == 7


def test_conflicts_without_end_are_told(gce: FakeGce, engines: Engines) -> None:
    engine = engines()
    engine.create(count=1)
    gce.methods.conflicts = 1000
    [outcome] = engine.quit_soon()
    assert "somebody else changes it at the same time: try again" in str(outcome)


def test_no_metadata_at_all_is_refused(engines: Engines) -> None:
    with pytest.raises(UsageError, match="name some by -m"):
        engines().set_metadata()
