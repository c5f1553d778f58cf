"""`with ComputeEngine(…).fleet(n):` deletes what it made, however the block ends."""

from __future__ import annotations

import pytest

from fleet.api import Patience
from fleet.errors import ComputeError
from tests.fleet.conftest import Engines
from tests.services.gce import FakeGce


@pytest.mark.parametrize("place", [{"zone": "europe-west4-a"}, {"region": "europe-west4"}])
def test_the_vms_are_there_within_the_block_only(
    gce: FakeGce, engines: Engines, place: dict[str, str]
) -> None:
    engines().create(50, 1)
    with engines(**place).fleet(4, storage="gs://b") as vms:
        assert [vm.name for vm in vms] == ["sim-0", "sim-1", "sim-2", "sim-3"]
        assert len(gce.names) == 5
        assert gce.attributes("sim-0") == {"storage": "gs://b"}
    assert gce.names == ["sim-50"], "made by another call"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_exception_takes_them_away(
    gce: FakeGce, engines: Engines, error: type[BaseException]
) -> None:
    def block() -> None:
        with engines().fleet(3):
            assert len(gce.names) == 3
            raise error

    with pytest.raises(error):
        block()
    assert gce.names == []


def test_an_interrupt_while_they_come_up_takes_them_away(gce: FakeGce, engines: Engines) -> None:
    gce.world.seconds_for = lambda name: 0.02 if name == "sim-0" else 1.5

    def progress(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), engines(progress=progress).fleet(5):
        pytest.fail("the block is not entered")
    assert gce.names == []
    deleted = {call.at["instance"] for call in gce.called("instances.delete")}
    assert deleted == {f"sim-{number}" for number in range(5)}, "those still on their way, too"


def test_vms_that_delete_themselves_are_no_trouble(gce: FakeGce, engines: Engines) -> None:
    with engines().fleet(3):
        gce.world.remove("europe-west4-a", "sim-1")
    assert gce.names == []


def test_a_fleet_with_too_few_vms_is_not_entered(gce: FakeGce, engines: Engines) -> None:
    gce.world.cpu_quota["europe-west4"] = 4
    with (
        pytest.raises(ComputeError, match=r"too few VMs could be made: .*QUOTA_EXCEEDED"),
        engines().fleet(3, min_count=3),
    ):
        pytest.fail("the block is not entered")
    assert gce.names == []


def test_what_cannot_be_deleted_is_named(gce: FakeGce, engines: Engines) -> None:
    engine = engines(patience=Patience(operation=1.0, retry=0.5))
    with pytest.raises(ComputeError, match="VMs may be left: sim-1"), engine.fleet(2):
        gce.world.never_ends = lambda name: name == "sim-1"
