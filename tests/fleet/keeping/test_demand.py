"""What a real LaunchPad says that there is to do."""

from __future__ import annotations

import pytest
from fireworks import Firework, FWAction, FWorker, LaunchPad, PyTask, Workflow
from fireworks.core.rocket_launcher import launch_rocket

from fleet.keeping.demand import LaunchPadDemand
from fleet.keeping.sight import Demand
from messaging.errors import ServiceError


def job(name: str, category: str = "", **more: object) -> Firework:
    """One that does next to nothing."""
    spec = {"_category": category} if category else {}
    return Firework([PyTask(func="time.sleep", args=[0])], spec=spec, name=name, **more)


def counted(demand: Demand) -> tuple[int, int, int, int, int]:
    """Without times."""
    return demand.ready, demand.reserved, demand.running, demand.waiting, demand.ended


def test_a_workflow_is_followed_to_its_end(
    launchpad: LaunchPad, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(str(tmp_path))
    worker = FWorker()
    look = LaunchPadDemand(launchpad, worker).look
    assert look().is_over
    first = job("first")
    launchpad.add_wf(Workflow([first, job("second", parents=[first])]))
    assert counted(look()) == (1, 0, 0, 1, 0)
    assert look().job_seconds is None
    launchpad.reserve_fw(worker, ".")
    assert counted(look()) == (0, 1, 0, 1, 0)
    launchpad.cancel_reservation(1)
    fw, launch_id = launchpad.checkout_fw(worker, ".")
    assert fw is not None
    assert counted(look()) == (0, 0, 1, 1, 0)
    launchpad.complete_launch(launch_id, FWAction())
    assert counted(look()) == (1, 0, 0, 0, 1)
    launch_rocket(launchpad, worker)
    ended = look()
    assert (ended.is_over, ended.ended) == (True, 2)
    assert ended.job_seconds is not None
    assert 0 <= ended.job_seconds < 60


def test_only_the_pool_s_own_work_counts(launchpad: LaunchPad) -> None:
    launchpad.add_wf(Workflow([job("a", "gpu"), job("b", "gpu"), job("c", "cpu")]))
    assert LaunchPadDemand(launchpad, FWorker(category="gpu")).look().ready == 2
    assert LaunchPadDemand(launchpad, FWorker(category="cpu")).look().ready == 1
    assert LaunchPadDemand(launchpad, FWorker(query={"name": "b"})).look().ready == 1


def test_what_waits_for_another_pool_waits_as_long_as_anything_goes_on(
    launchpad: LaunchPad,
) -> None:
    first = job("first", "cpu")
    launchpad.add_wf(Workflow([first, job("second", "gpu", parents=[first])]))
    look = LaunchPadDemand(launchpad, FWorker(category="gpu")).look
    assert look().waiting == 1
    launchpad.defuse_fw(1)
    assert look().is_over


def test_a_database_that_is_away_is_an_error_that_passes() -> None:
    away = LaunchPad(host="127.0.0.1", port=1, mongoclient_kwargs={"serverSelectionTimeoutMS": 100})
    with pytest.raises(ServiceError, match="MongoDB is away"):
        LaunchPadDemand(away, FWorker()).look()
