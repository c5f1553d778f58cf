"""VMs are made as described, each failure is told with its reason, and none is left by mistake."""

from __future__ import annotations

import threading

import pytest

from fleet.api import Patience
from fleet.compute_engine import ComputeEngine
from fleet.template import VmTemplate
from messaging.errors import ServiceError, UsageError
from tests.fleet.conftest import TEMPLATE, Engines
from tests.services.gce import FakeGce, Fault


def test_vms_are_made_as_they_are_described(gce: FakeGce, engines: Engines) -> None:
    template = VmTemplate(
        image_family="fireworker",
        machine_types=("n2-standard-2",),
        spot=True,
        max_run_seconds=3600,
        disk_gb=50,
        disk_type="pd-ssd",
        labels={"team": "x"},
        external_address=False,
        service_account="robot@my-project.iam.gserviceaccount.com",
    )
    engine = engines("Sim_A", template=template)
    outcomes = engine.create(3, 2, storage="gs://b/x=1,y", pool="gpu")
    assert [(outcome.name, outcome.ok, outcome.zone) for outcome in outcomes] == [
        ("sim-a-3", True, "europe-west4-a"),
        ("sim-a-4", True, "europe-west4-a"),
    ]
    vm = gce.vm("sim-a-4")
    assert vm["machineType"].endswith("/machineTypes/n2-standard-2")
    assert vm["scheduling"]["provisioningModel"] == "SPOT"
    assert vm["scheduling"]["instanceTerminationAction"] == "DELETE"
    assert vm["scheduling"]["maxRunDuration"] == {"seconds": "3600"}
    assert vm["disks"][0]["autoDelete"] is True
    assert vm["disks"][0]["initializeParams"]["diskSizeGb"] == "50"
    assert "accessConfigs" not in vm["networkInterfaces"][0]
    assert vm["labels"]["portfire"] == "executor"
    assert vm["labels"]["portfire_fleet"] == "sim-a"
    assert vm["disks"][0]["initializeParams"]["labels"] == vm["labels"]
    assert gce.attributes("sim-a-4") == {"storage": "gs://b/x=1,y", "pool": "gpu"}


def test_vms_come_up_side_by_side(gce: FakeGce, engines: Engines) -> None:
    all_up = threading.Barrier(5)

    def start(_vm: object) -> None:
        all_up.wait(20)

    gce.world.on_start = start
    assert all(outcome.ok for outcome in engines().create(count=5))


def test_progress_is_told_one_by_one(engines: Engines) -> None:
    told: list[tuple[int, int]] = []
    engines(progress=lambda done, total: told.append((done, total))).create(count=3)
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_a_taken_name_is_told_and_its_vm_left_alone(gce: FakeGce, engines: Engines) -> None:
    engines(zone="us-central1-a").create(1, 1)
    first = gce.vm("sim-1")["id"]
    good, taken = engines().create(0, 2)
    assert good.ok
    assert "sim-1 in us-central1-a: alreadyExists: there is such a VM: choose another" in str(taken)
    assert gce.vm("sim-1")["id"] == first
    assert gce.names == ["sim-0", "sim-1"]


def test_after_a_stock_out_the_next_machine_type_is_tried(gce: FakeGce, engines: Engines) -> None:
    gce.stock_out(machine_type="n2-standard-2", times=2)
    template = VmTemplate(image_family="fireworker", machine_types=("n2-standard-2", "e2-small"))
    outcomes = engines(template=template).create(count=3)
    assert sorted(outcome.machine_type for outcome in outcomes) == [
        "e2-small",
        "e2-small",
        "n2-standard-2",
    ]
    assert len(gce.names) == 3


@pytest.mark.parametrize("where", ["zone", "region"])
def test_what_could_not_be_made_says_why_vm_by_vm(
    gce: FakeGce, engines: Engines, where: str
) -> None:
    gce.world.cpu_quota["europe-west4"] = 4
    place = {"zone": "europe-west4-a"} if where == "zone" else {"region": "europe-west4"}
    outcomes = engines(**place).create(count=4)
    assert [outcome.ok for outcome in outcomes].count(True) == 2
    for outcome in outcomes:
        if not outcome.ok:
            assert "QUOTA_EXCEEDED: Quota 'CPUS' exceeded. Limit: 4.0" in str(outcome)
            assert "ask for more quota" in outcome.remedy
    assert gce.names == sorted(outcome.name for outcome in outcomes if outcome.ok)


@pytest.mark.parametrize("where", ["zone", "region"])
def test_too_few_are_not_kept(gce: FakeGce, engines: Engines, where: str) -> None:
    gce.world.cpu_quota["europe-west4"] = 4
    place = {"zone": "europe-west4-a"} if where == "zone" else {"region": "europe-west4"}
    outcomes = engines(**place).create(count=4, min_count=3)
    assert not any(outcome.ok for outcome in outcomes)
    assert gce.names == []


def test_a_region_has_room_where_a_zone_has_none(gce: FakeGce, engines: Engines) -> None:
    gce.stock_out(zone="europe-west4-a")
    outcomes = engines(region="europe-west4").create(count=4)
    assert {outcome.zone for outcome in outcomes} == {"europe-west4-b", "europe-west4-c"}
    [call] = gce.called("regionInstances.bulkInsert")
    assert call.body["locationPolicy"] == {"targetShape": "ANY"}
    assert gce.names == ["sim-0", "sim-1", "sim-2", "sim-3"]


def test_a_region_tries_machine_types_in_order(gce: FakeGce, engines: Engines) -> None:
    gce.stock_out(machine_type="n2-standard-8")
    template = VmTemplate(
        image_family="fireworker", machine_types=("n2-standard-8", "n2-standard-2", "e2-small")
    )
    [outcome] = engines(region="us-central1", template=template).create()
    assert outcome.machine_type == "n2-standard-2"


def test_an_answer_that_was_lost_makes_no_second_vm(gce: FakeGce, engines: Engines) -> None:
    gce.faults.append(Fault("instances.insert", 503, after=True, times=2))
    outcomes = engines().create(count=2)
    assert all(outcome.ok for outcome in outcomes)
    assert gce.names == ["sim-0", "sim-1"]
    assert len(gce.called("instances.insert")) == 4


@pytest.mark.parametrize(
    ("code", "reason"), [(429, "rateLimitExceeded"), (403, "rateLimitExceeded"), (500, "x")]
)
def test_what_passes_is_tried_again(gce: FakeGce, engines: Engines, code: int, reason: str) -> None:
    gce.faults.append(Fault(".*", code, reason, times=3))
    [outcome] = engines().create()
    assert outcome.ok


def test_what_may_have_been_made_is_taken_away(gce: FakeGce, engines: Engines) -> None:
    gce.world.never_tells = lambda name: name == "sim-1" and "sim-1" in gce.names
    patience = Patience(operation=1.5, retry=1.0)
    good, lost = engines(patience=patience).create(count=2)
    assert good.ok
    assert "NEVER_ENDED" in str(lost)
    assert "portfire gce list" in lost.remedy
    assert gce.names == ["sim-0"]


def test_an_operation_that_never_ends_is_told_in_time(gce: FakeGce, engines: Engines) -> None:
    gce.world.never_ends = lambda name: name == "sim-0"
    patience = Patience(operation=1.0, retry=1.0)
    lost, good = engines(patience=patience).create(count=2)
    assert "operation" in lost.reason
    assert good.ok, "one that ended in time is seen, although the other took all of it"


def test_an_api_that_stays_away_leaves_nothing_behind(gce: FakeGce, engines: Engines) -> None:
    gce.faults.append(Fault("instances.insert", 503, after=True, times=1000))
    patience = Patience(operation=20.0, retry=1.0)
    [outcome] = engines(patience=patience).create()
    assert not outcome.ok
    assert "Backend Error" in outcome.reason
    assert gce.names == []


def test_a_wrong_image_family_is_found_before_anything_is_made(
    gce: FakeGce, engines: Engines
) -> None:
    engine = engines(template=VmTemplate(image_family="fireworkr"))
    with pytest.raises(UsageError, match="no image family 'fireworkr' in project 'my-project'"):
        engine.create(count=3)
    assert gce.called("instances.insert") == []


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Fault("instances.insert", 403, "forbidden", "Required permission"), "instanceAdmin"),
        (Fault("instances.insert", 403, "accessNotConfigured", "not enabled"), "services enable"),
        (Fault("instances.insert", 400, "invalid", "Invalid value"), "correct that option"),
    ],
)
def test_what_befalls_all_is_said_once(
    gce: FakeGce, engines: Engines, fault: Fault, says: str
) -> None:
    fault.times = 100
    gce.faults.append(fault)
    with pytest.raises(UsageError, match=says) as caught:
        engines().create(count=10)
    assert len(str(caught.value).splitlines()) == 1
    assert gce.names == []


def test_a_refusal_half_way_takes_back_what_was_made(gce: FakeGce, engines: Engines) -> None:
    def start(_vm: object) -> None:
        gce.faults.append(Fault("instances.insert", 403, "forbidden", times=100))

    gce.world.on_start = start
    gce.stock_out(machine_type="n2-standard-2", times=2)
    template = VmTemplate(image_family="fireworker", machine_types=("n2-standard-2", "e2-small"))
    with pytest.raises(UsageError):
        engines(template=template).create(count=4)
    assert gce.names == []


def test_too_many_requests_are_not_told_as_a_quota(gce: FakeGce, engines: Engines) -> None:
    gce.faults.append(Fault(".*", 429, "rateLimitExceeded", "Rate Limit Exceeded", times=10**6))
    with pytest.raises(ServiceError, match="Rate Limit Exceeded: ask for fewer VMs at a time"):
        engines(patience=Patience(operation=5.0, retry=0.3)).create()


def test_a_zone_that_there_is_not_is_one_line(engines: Engines) -> None:
    with pytest.raises(Exception, match="zones/europe-west9-z' was not found") as caught:
        engines(zone="europe-west9-z").create()
    assert len(str(caught.value).splitlines()) == 1


def test_nobody_answers_there() -> None:
    patience = Patience(operation=5.0, retry=0.3)
    engine = ComputeEngine(
        "sim",
        project="p",
        zone="europe-west4-a",
        endpoint="http://127.0.0.1:9",
        patience=patience,
        template=TEMPLATE,
    )
    with pytest.raises(Exception, match="Compute Engine does not answer") as caught:
        engine.create()
    assert len(str(caught.value).splitlines()) == 1
