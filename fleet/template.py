"""What a fleet's VMs are like, and the API's description of such a VM."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from messaging.errors import UsageError

#: Public images by the beginning of the family's name; others are the project's own.
_PUBLIC_IMAGES = {
    "debian-": "debian-cloud",
    "ubuntu-": "ubuntu-os-cloud",
    "cos-": "cos-cloud",
}
_MACHINE_TYPE = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)+")
_LABEL_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}")
_SCOPES_URL = "https://www.googleapis.com/auth/"
#: gcloud's short names that are not the end of the scope's URL.
_SCOPES = {
    "compute-rw": "compute",
    "compute-ro": "compute.readonly",
    "logging-write": "logging.write",
    "monitoring": "monitoring",
    "monitoring-write": "monitoring.write",
    "service-control": "servicecontrol",
    "service-management": "service.management.readonly",
    "storage-full": "devstorage.full_control",
    "storage-ro": "devstorage.read_only",
    "storage-rw": "devstorage.read_write",
    "trace": "trace.append",
}


@dataclass(frozen=True, kw_only=True)
class VmTemplate:
    """A VM but for its name and place. Sizes are GiB (2^30 bytes), times seconds."""

    #: The first that is to be had is taken, in this order.
    machine_types: tuple[str, ...] = ("e2-standard-2",)
    image_family: str = "debian-12"
    #: "" is that of the public family of this name, else the fleet's project.
    image_project: str = ""
    spot: bool = False
    #: The VM is deleted after this time, whatever it does; 0 is never.
    max_run_seconds: int = 0
    #: 0 is the image's size.
    disk_gb: int = 0
    #: "" is the machine series' own.
    disk_type: str = ""
    service_account: str = "default"
    scopes: tuple[str, ...] = ("cloud-platform",)
    labels: Mapping[str, str] = field(default_factory=dict)
    #: Without it the VM reaches Google's APIs and the world by private access and NAT only.
    external_address: bool = True
    network: str = "default"
    #: "" is the network's own in the region.
    subnet: str = ""
    network_tags: tuple[str, ...] = ()
    network_tier: str = "PREMIUM"
    min_cpu_platform: str = ""
    #: Type and count, such as ``("nvidia-tesla-t4", 1)``.
    accelerator: tuple[str, int] | None = None
    #: MIGRATE or TERMINATE; "" is what such a VM can do.
    maintenance_policy: str = ""
    description: str = "Portfire executor"

    def __post_init__(self) -> None:
        """Raises UsageError naming what is wrong."""
        if not self.machine_types:
            raise UsageError("no machine type is named, such as e2-standard-2")
        for kind in self.machine_types:
            if not _MACHINE_TYPE.fullmatch(kind):
                raise UsageError(f"{kind!r} is no machine type; one is called e2-standard-2")
        check_labels(self.labels)
        if self.spot and self.maintenance_policy == "MIGRATE":
            raise UsageError("a Spot VM cannot MIGRATE: leave out maintenance-policy, or --spot")
        if self.disk_gb and self.disk_gb < 10:
            raise UsageError(f"a boot disk of {self.disk_gb} GB is too small: 10 GB or more")
        if self.max_run_seconds and not 30 <= self.max_run_seconds <= 120 * 86_400:
            raise UsageError(
                f"a VM's longest time is {self.max_run_seconds} s: from 30 seconds to 120 days"
            )

    def image(self, project: str) -> str:
        """The image family's path; `project` is the fleet's."""
        return f"projects/{self.image_home(project)}/global/images/family/{self.image_family}"

    def image_home(self, project: str) -> str:
        """The project that has the image family."""
        public = [
            home for start, home in _PUBLIC_IMAGES.items() if self.image_family.startswith(start)
        ]
        return self.image_project or (public[0] if public else project)

    def instance(self, name: str, zone: str, project: str, kind: str, more: Extra) -> Any:
        """The API's Instance in JSON: names of things in the zone are paths."""
        body = self._common(project, zone.rpartition("-")[0], more)
        disk = body["disks"][0]["initializeParams"]
        if self.disk_type:
            disk["diskType"] = f"zones/{zone}/diskTypes/{self.disk_type}"
        for accelerator in body.get("guestAccelerators", []):
            path = f"zones/{zone}/acceleratorTypes/{accelerator['acceleratorType']}"
            accelerator["acceleratorType"] = path
        return {"name": name, "machineType": f"zones/{zone}/machineTypes/{kind}", **body}

    def properties(self, region: str, project: str, more: Extra) -> Any:
        """The API's InstanceProperties in JSON, without a machine type."""
        body = self._common(project, region, more)
        if self.disk_type:
            body["disks"][0]["initializeParams"]["diskType"] = self.disk_type
        return body

    def _common(self, project: str, region: str, more: Extra) -> dict[str, Any]:
        labels = {**self.labels, **more.labels}
        disk: dict[str, Any] = {"sourceImage": self.image(project), "labels": labels}
        if self.disk_gb:
            disk["diskSizeGb"] = self.disk_gb
        body: dict[str, Any] = {
            "description": self.description,
            "labels": labels,
            "disks": [
                {"boot": True, "autoDelete": True, "type": "PERSISTENT", "initializeParams": disk}
            ],
            "networkInterfaces": [self._interface(region)],
            "scheduling": self._scheduling(),
            "metadata": {
                "items": [{"key": key, "value": value} for key, value in more.attributes.items()]
            },
        }
        if self.service_account:
            scopes = [scope_url(scope) for scope in self.scopes]
            body["serviceAccounts"] = [{"email": self.service_account, "scopes": scopes}]
        if self.network_tags:
            body["tags"] = {"items": list(self.network_tags)}
        if self.min_cpu_platform:
            body["minCpuPlatform"] = self.min_cpu_platform
        if self.accelerator:
            kind, count = self.accelerator
            body["guestAccelerators"] = [{"acceleratorType": kind, "acceleratorCount": count}]
        return body

    def _interface(self, region: str) -> dict[str, Any]:
        interface: dict[str, Any] = {}
        if self.subnet:
            path = (
                self.subnet if "/" in self.subnet else f"regions/{region}/subnetworks/{self.subnet}"
            )
            interface["subnetwork"] = path
        else:
            network = self.network
            interface["network"] = network if "/" in network else f"global/networks/{network}"
        if self.external_address:
            interface["accessConfigs"] = [
                {
                    "type": "ONE_TO_ONE_NAT",
                    "name": "External NAT",
                    "networkTier": self.network_tier,
                }
            ]
        return interface

    def _scheduling(self) -> dict[str, Any]:
        # A VM with a GPU cannot move, nor can a Spot VM.
        moves = not self.spot and not self.accelerator
        policy = self.maintenance_policy or ("MIGRATE" if moves else "TERMINATE")
        scheduling: dict[str, Any] = {
            "provisioningModel": "SPOT" if self.spot else "STANDARD",
            "onHostMaintenance": policy,
            "automaticRestart": not self.spot,
        }
        if self.max_run_seconds:
            scheduling["maxRunDuration"] = {"seconds": self.max_run_seconds}
        if self.spot or self.max_run_seconds:
            scheduling["instanceTerminationAction"] = "DELETE"
        return scheduling


@dataclass(frozen=True)
class Extra:
    """What one call of `create` adds to a template."""

    labels: Mapping[str, str]
    attributes: Mapping[str, str]


def check_labels(labels: Mapping[str, str]) -> None:
    """Raises UsageError for one that Compute Engine would refuse."""
    for key, value in labels.items():
        if not _LABEL_KEY.fullmatch(key) or not _LABEL_VALUE.fullmatch(value):
            raise UsageError(
                f"label {key}={value}: labels have small letters, digits, - and _, at most 63"
            )


def scope_url(scope: str) -> str:
    """An access scope's URL from gcloud's short name for it."""
    return scope if ":" in scope else f"{_SCOPES_URL}{_SCOPES.get(scope, scope)}"
