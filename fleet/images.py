"""Disk images by Compute Engine's API, and the VM from whose disk one is made."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from google.cloud import compute_v1

from fleet.api import Api, Pending, new_id
from messaging.errors import NotFoundError

_PERMISSION = "give your account roles/compute.storageAdmin on the project"


@dataclass(frozen=True)
class Image:
    """An image, when it was looked at."""

    name: str
    #: PENDING, READY, FAILED, ...
    status: str
    labels: dict[str, str]


class Images:
    """Calls on images and on a VM that makes one. Thread-safe; raises as `Api` does."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._images = api.client(compute_v1.ImagesClient)
        self._instances = api.client(compute_v1.InstancesClient)

    def find(self, name: str) -> Image | None:
        """The project's image of that name, if there is one."""
        request = compute_v1.GetImageRequest(project=self._api.project, image=name)
        try:
            found = self._api.call(f"read image {name}", self._images.get, request, _PERMISSION)
        except NotFoundError:
            return None
        return Image(found.name, found.status, dict(found.labels))

    def insert(self, image: dict[str, Any]) -> Pending:
        """Start making an image of the API's Image in JSON."""
        request = compute_v1.InsertImageRequest(
            project=self._api.project,
            image_resource=compute_v1.Image.from_json(json.dumps(image)),
            request_id=new_id(),
        )
        action = f"make image {image['name']}"
        operation = self._api.call(action, self._images.insert_unary, request, _PERMISSION)
        return Pending("global", operation.name)

    def delete(self, name: str) -> Pending:
        """Start deleting an image."""
        request = compute_v1.DeleteImageRequest(
            project=self._api.project, image=name, request_id=new_id()
        )
        action = f"delete image {name}"
        operation = self._api.call(action, self._images.delete_unary, request, _PERMISSION)
        return Pending("global", operation.name)

    def status(self, zone: str, vm: str) -> tuple[str, str]:
        """A VM's status (RUNNING, TERMINATED, ...), and the path of its boot disk."""
        request = compute_v1.GetInstanceRequest(project=self._api.project, zone=zone, instance=vm)
        found = self._api.call(f"read VM {vm} in {zone}", self._instances.get, request)
        disks = [disk.source for disk in found.disks if disk.boot]
        path = disks[0].partition("/projects/")[2] if disks else ""
        return found.status, f"projects/{path}" if path else disk_path(self._api.project, zone, vm)

    def console(self, zone: str, vm: str, start: int) -> tuple[str, int]:
        """What a VM wrote to its first serial port from byte `start` on, and where that ends."""
        request = compute_v1.GetSerialPortOutputInstanceRequest(
            project=self._api.project, zone=zone, instance=vm, port=1, start=start
        )
        action = f"read the serial port of VM {vm} in {zone}"
        output = self._api.call(action, self._instances.get_serial_port_output, request)
        return output.contents, output.next_


def disk_path(project: str, zone: str, vm: str) -> str:
    """Where the boot disk of a VM is, which is called as the VM is."""
    return f"projects/{project}/zones/{zone}/disks/{vm}"
