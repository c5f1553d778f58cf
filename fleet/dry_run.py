"""Requests as they would be sent: verb, path and body."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from google.cloud import compute_v1

from fleet.api import Api
from fleet.bodies import regional, zonal
from fleet.changes import changed_metadata
from fleet.image_order import ImageOrder
from fleet.images import disk_path
from fleet.plan import Plan
from fleet.vms import BATCH_LABEL, Vm


def creation(plan: Plan) -> list[dict[str, Any]]:
    """Those that make VMs; in a zone with the first machine type, as it is tried first."""
    project, place = plan.place.project, plan.place
    if place.region:
        body = regional(plan, plan.names)
        path = f"regions/{place.region}/instances/bulkInsert"
        return [_request("POST", project, path, compute_v1.BulkInsertInstanceResource, body)]
    bodies = [zonal(plan, name, plan.template.machine_types[0]) for name in plan.names]
    path = f"zones/{place.zone}/instances"
    return [_request("POST", project, path, compute_v1.Instance, body) for body in bodies]


def image(plan: Plan, order: ImageOrder) -> list[dict[str, Any]]:
    """Those that make a VM, an image of its disk, and no VM again."""
    project, zone, [vm] = plan.place.project, plan.place.zone, plan.names
    body = order.body(disk_path(project, zone, vm), plan.extra.labels[BATCH_LABEL])
    return [
        *creation(plan),
        _request("POST", project, "global/images", compute_v1.Image, body),
        _request("DELETE", project, f"zones/{zone}/instances/{vm}"),
    ]


def deletion(project: str, vms: Sequence[Vm]) -> list[dict[str, Any]]:
    """Those that delete VMs."""
    return [_request("DELETE", project, f"zones/{vm.zone}/instances/{vm.name}") for vm in vms]


def metadata(
    api: Api, vms: Sequence[Vm], changes: Mapping[str, str | None]
) -> list[dict[str, Any]]:
    """Those that set attributes; the VMs are read for it."""
    return [
        _request(
            "POST",
            api.project,
            f"zones/{vm.zone}/instances/{vm.name}/setMetadata",
            compute_v1.Metadata,
            changed_metadata(api, vm, changes),
        )
        for vm in vms
    ]


def text(request: Mapping[str, Any]) -> str:
    """As JSON for people, one after the other."""
    return json.dumps(request, indent=2)


def _request(
    verb: str, project: str, path: str, kind: Any = None, body: Any = None
) -> dict[str, Any]:
    request = {"method": verb, "path": f"/compute/v1/projects/{project}/{path}"}
    if kind is None:
        return request
    # Through the client library's own type, as it is when it is sent.
    message = kind.from_json(json.dumps(body))
    sent = kind.to_json(
        message, use_integers_for_enums=False, always_print_fields_with_no_presence=False
    )
    return {**request, "body": json.loads(sent)}
