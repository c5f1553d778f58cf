"""The fake refuses what Compute Engine would: a test that passes on it says something."""

from __future__ import annotations

import json
import urllib.request
from urllib.error import HTTPError

import pytest

from tests.fleet.conftest import Engines
from tests.services.gce import FakeGce, serving_gce

IMAGE = "projects/my-project/global/images/family/fireworker"
BODY = {
    "name": "x",
    "machineType": "zones/europe-west4-a/machineTypes/e2-small",
    "disks": [{"boot": True, "initializeParams": {"sourceImage": IMAGE}}],
    "networkInterfaces": [{}],
}
PATH = "/compute/v1/projects/my-project/zones/europe-west4-a/instances"


def _post(gce: FakeGce, body: object, query: str = "") -> int:
    request = urllib.request.Request(
        f"{gce.address}{PATH}{query}", data=json.dumps(body).encode(), method="POST"
    )
    try:
        with urllib.request.urlopen(request) as answer:
            return int(answer.status)
    except HTTPError as exc:
        return exc.code


def test_a_well_formed_request_is_taken(gce: FakeGce) -> None:
    assert _post(gce, BODY) == 200


@pytest.mark.parametrize(
    ("change", "query"),
    [
        ({"machine_typo": "x"}, ""),
        ({"scheduling": {"maxRunDuration": "3600s"}}, ""),
        ({"labels": ["a"]}, ""),
        ({}, "?requestID=1"),
        ({}, "?requestId=no-uuid"),
    ],
)
def test_a_request_that_the_api_does_not_have_fails_the_test(
    change: dict[str, object], query: str
) -> None:
    with pytest.raises(AssertionError), serving_gce() as gce:
        assert _post(gce, {**BODY, **change}, query) == 400


@pytest.mark.parametrize(
    "change",
    [
        {"name": "Not-Legal"},
        {"machineType": "e2-small"},
        {"machineType": "zones/us-central1-a/machineTypes/e2-small"},
        {"labels": {"UPPER": "x"}},
        {"metadata": {"items": [{"key": "a b", "value": ""}]}},
        {"scheduling": {"provisioningModel": "SPOT", "onHostMaintenance": "MIGRATE"}},
        {"scheduling": {"instanceTerminationAction": "DELETE"}},
        {"scheduling": {"maxRunDuration": {"seconds": 60}}},
        {"disks": []},
    ],
)
def test_values_that_the_api_refuses_are_refused(gce: FakeGce, change: dict[str, object]) -> None:
    assert _post(gce, {**BODY, **change}) == 400
    assert gce.names == []


def test_a_preempted_spot_vm_is_gone(gce: FakeGce, engines: Engines) -> None:
    ends: list[str] = []
    gce.world.on_preempt = lambda vm: ends.append(f"preempt {vm['name']}")
    gce.world.on_delete = lambda vm: ends.append(f"delete {vm['name']}")
    engines(options={"preemptible": ""}).create(count=2)
    gce.preempt("sim-1")
    assert ends == ["preempt sim-1", "delete sim-1"]
    assert gce.names == ["sim-0"]
