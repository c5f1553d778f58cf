"""What a request to the fake Compute Engine must look like: Google's own types, and its rules.

The types are those of google-cloud-compute, read without mercy: a field that they do not know fails
the test. The rules are those of the API's reference that a client can break with valid types.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from typing import Any

from google.cloud import compute_v1
from google.protobuf.json_format import ParseError

_NAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
_LABEL_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}")
_METADATA_KEY = re.compile(r"[a-zA-Z0-9_-]{1,128}")
#: 256 KiB for a value, 512 KiB for all.
_METADATA_VALUE_BYTES, _METADATA_BYTES = 262_144, 524_288

#: Method → the type of its request (whose fields are the query's) and of its body.
_TYPES: dict[str, tuple[Any, Any]] = {
    "instances.insert": (compute_v1.InsertInstanceRequest, compute_v1.Instance),
    "instances.bulkInsert": (
        compute_v1.BulkInsertInstanceRequest,
        compute_v1.BulkInsertInstanceResource,
    ),
    "regionInstances.bulkInsert": (
        compute_v1.BulkInsertRegionInstanceRequest,
        compute_v1.BulkInsertInstanceResource,
    ),
    "instances.setMetadata": (compute_v1.SetMetadataInstanceRequest, compute_v1.Metadata),
    "instances.delete": (compute_v1.DeleteInstanceRequest, None),
    "instances.get": (compute_v1.GetInstanceRequest, None),
    "instances.list": (compute_v1.ListInstancesRequest, None),
    "instances.aggregatedList": (compute_v1.AggregatedListInstancesRequest, None),
    "zoneOperations.get": (compute_v1.GetZoneOperationRequest, None),
    "zoneOperations.list": (compute_v1.ListZoneOperationsRequest, None),
    "zoneOperations.wait": (compute_v1.WaitZoneOperationRequest, None),
    "regionOperations.get": (compute_v1.GetRegionOperationRequest, None),
    "regionOperations.wait": (compute_v1.WaitRegionOperationRequest, None),
    "globalOperations.get": (compute_v1.GetGlobalOperationRequest, None),
    "globalOperations.wait": (compute_v1.WaitGlobalOperationRequest, None),
    "instances.getSerialPortOutput": (compute_v1.GetSerialPortOutputInstanceRequest, None),
    "images.get": (compute_v1.GetImageRequest, None),
    "images.insert": (compute_v1.InsertImageRequest, compute_v1.Image),
    "images.delete": (compute_v1.DeleteImageRequest, None),
    "images.getFromFamily": (compute_v1.GetFromFamilyImageRequest, None),
    "machineTypes.get": (compute_v1.GetMachineTypeRequest, None),
    "machineTypes.list": (compute_v1.ListMachineTypesRequest, None),
    "zones.list": (compute_v1.ListZonesRequest, None),
    "zones.get": (compute_v1.GetZoneRequest, None),
    "regions.list": (compute_v1.ListRegionsRequest, None),
    "regions.get": (compute_v1.GetRegionRequest, None),
    "subnetworks.get": (compute_v1.GetSubnetworkRequest, None),
    "routers.list": (compute_v1.ListRoutersRequest, None),
}


class NotTheApiError(Exception):
    """The request is none that Google's own types allow: the client is wrong, the test fails."""


class RefusedError(Exception):
    """What the API answers with an error; `reason` and `code` are the API's words."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message


def invalid(message: str) -> RefusedError:
    """400: a value that the types allow and the API does not."""
    return RefusedError(400, "invalid", message)


def check_types(method: str, query: Mapping[str, str], body: str) -> None:
    """Raises NotTheApiError when query or body do not parse as the method's own types."""
    request, resource = _TYPES[method]
    known = {_camel(field) for field in request.meta.fields} | {"$alt"}
    if unknown := set(query) - known:
        raise NotTheApiError(f"{method} has no parameters {sorted(unknown)}")
    if "requestId" in query:
        uuid.UUID(query["requestId"])
    if resource is None:
        if body.strip():
            raise NotTheApiError(f"{method} takes no body: {body[:200]}")
        return
    try:
        resource.from_json(body, ignore_unknown_fields=False)
    except (ParseError, ValueError) as exc:
        raise NotTheApiError(f"{method}: {exc}: {body[:500]}") from exc


def check_name(name: str) -> None:
    """RFC 1035, as the API words it."""
    if not _NAME.fullmatch(name):
        raise invalid(
            f"Invalid value for field 'resource.name': '{name}'. Must be a match of regex "
            "'(?:[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?)'"
        )


def check_properties(properties: Mapping[str, Any], *, zone: str | None) -> str:
    """The rules for an instance (`zone` given) or for bulk properties; the machine type's name."""
    for key, value in properties.get("labels", {}).items():
        if not _LABEL_KEY.fullmatch(key) or not _LABEL_VALUE.fullmatch(value):
            raise invalid(f"Invalid label: {key}={value}")
    check_metadata(properties.get("metadata", {}))
    _check_scheduling(properties.get("scheduling", {}))
    disks = properties.get("disks", [])
    if not disks or not disks[0].get("boot"):
        raise invalid("Invalid value for field 'resource.disks': no boot disk specified.")
    if not properties.get("networkInterfaces"):
        raise invalid("At least one network interface is required.")
    for disk in disks:
        kind = disk.get("initializeParams", {}).get("diskType", "")
        if kind and ("/" in kind) != (zone is not None):
            raise invalid(f"Invalid value for field 'diskType': '{kind}'.")
    return _machine_type(str(properties.get("machineType", "")), zone)


def check_metadata(metadata: Mapping[str, Any]) -> None:
    """Keys once each, values within their size."""
    items = metadata.get("items", [])
    keys = [item["key"] for item in items]
    if len(set(keys)) != len(keys):
        raise invalid("Metadata has duplicate keys.")
    for item in items:
        if not _METADATA_KEY.fullmatch(item["key"]):
            raise invalid(f"Invalid metadata key '{item['key']}'.")
        if len(item.get("value", "").encode()) > _METADATA_VALUE_BYTES:
            raise invalid(f"Metadata value of '{item['key']}' is too large.")
    if sum(len(i["key"]) + len(i.get("value", "").encode()) for i in items) > _METADATA_BYTES:
        raise invalid("Metadata is too large.")


def _check_scheduling(scheduling: Mapping[str, Any]) -> None:
    if scheduling.get("provisioningModel") == "SPOT":
        if scheduling.get("onHostMaintenance") not in (None, "TERMINATE"):
            raise invalid("Spot instances must have onHostMaintenance TERMINATE.")
        if scheduling.get("automaticRestart"):
            raise invalid("Scheduling must have automaticRestart be false for Spot instances.")
    limited = "maxRunDuration" in scheduling or scheduling.get("provisioningModel") == "SPOT"
    if "instanceTerminationAction" in scheduling and not limited:
        raise invalid("instanceTerminationAction needs Spot or a maxRunDuration.")
    if "maxRunDuration" in scheduling:
        if "instanceTerminationAction" not in scheduling:
            raise invalid("maxRunDuration needs an instanceTerminationAction.")
        if not 30 <= int(scheduling["maxRunDuration"]["seconds"]) <= 120 * 86400:
            raise invalid("maxRunDuration must be between 30 seconds and 120 days.")


def _machine_type(text: str, zone: str | None) -> str:
    """An instance names it by a URL in its zone, bulk properties by its plain name."""
    if zone is None:
        if "/" in text or not text:
            raise RefusedError(500, "INTERNAL_ERROR", "Internal error.")
        return text
    match = re.search(r"zones/([^/]+)/machineTypes/([^/]+)$", text)
    if match is None or match[1] != zone:
        raise invalid(f"Invalid value for field 'resource.machineType': '{text}'.")
    return match[2]


def _camel(field: str) -> str:
    head, *rest = field.split("_")
    return head + "".join(word.capitalize() for word in rest)
