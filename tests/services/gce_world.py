"""What the fake Compute Engine has: zones, machine types, image families, VMs, operations.

All of it is Google's JSON in dicts; one lock guards it. Callbacks are called without the lock.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Resource = dict[str, Any]

ZONES = (
    *(f"europe-west4-{letter}" for letter in "abc"),
    *(f"us-central1-{letter}" for letter in "abcf"),
)
MACHINE_TYPES = {
    "e2-small": 2,
    "e2-standard-2": 2,
    "n1-standard-1": 1,
    "n2-standard-2": 2,
    "n2-standard-8": 8,
    "custom-1-5120": 1,
}
FAMILIES = ("debian-cloud/debian-12", "cos-cloud/cos-stable", "my-project/fireworker")


@dataclass
class Trouble:
    """Why VMs are not made: the API's error code, for the VMs that it hits, so many times."""

    code: str
    message: str
    hits: Callable[[Resource, str, str], bool] = lambda _vm, _zone, _machine_type: True
    times: int = 1_000_000


@dataclass
class Operation:
    """One operation; `work` makes it true when its time has come."""

    resource: Resource
    work: Callable[[], None] | None
    done: threading.Event = field(default_factory=threading.Event)


class World:
    """The state. `seconds` is how long an operation takes, `seconds_for` that on one VM."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.lock = threading.RLock()
        self.seconds = 0.02
        self.seconds_for: Callable[[str], float] = lambda _name: self.seconds
        #: By (zone, name).
        self.instances: dict[tuple[str, str], Resource] = {}
        #: Images of the project by name, and all families as ``PROJECT/FAMILY``.
        self.images: dict[str, Resource] = {}
        self.families = set(FAMILIES)
        #: What VMs wrote to their serial port, by name.
        self.consoles: dict[str, str] = {}
        self.operations: dict[str, Operation] = {}
        self.requests: dict[str, str] = {}
        self.troubles: list[Trouble] = []
        #: Operations whose target's name this accepts do nothing, and never end.
        self.never_ends: Callable[[str], bool] = lambda _name: False
        #: Those do what they should, and never say that they have ended.
        self.never_tells: Callable[[str], bool] = lambda _name: False
        #: CPUs that may run in a region, by region.
        self.cpu_quota: dict[str, int] = {}
        self.on_start: Callable[[Resource], None] = lambda _vm: None
        self.on_preempt: Callable[[Resource], None] = lambda _vm: None
        self.on_delete: Callable[[Resource], None] = lambda _vm: None
        self.on_metadata: Callable[[Resource], None] = lambda _vm: None

    def url(self, path: str) -> str:
        """A resource's own URL."""
        return f"{self.address}/compute/v1/{path}"

    def operate(
        self,
        place: str,
        kind: str,
        target: str,
        work: Callable[[], None] | None,
        **more: Any,
    ) -> Operation:
        """Start an operation in `place` (``projects/P/zones/Z``); `work` is done at its end.

        One on an image is in ``projects/P/global``.
        """
        name = f"operation-{uuid.uuid4()}"
        scope = place.split("/")[2]
        where = {} if scope == "global" else {scope.rstrip("s"): self.url(place)}
        kind_of_target = "images" if scope == "global" else "instances"
        resource = {
            "kind": "compute#operation",
            "id": str(uuid.uuid4().int >> 65),
            "name": name,
            **where,
            "operationType": kind,
            "targetLink": self.url(f"{place}/{kind_of_target}/{target}"),
            "status": "RUNNING",
            "progress": 0,
            "insertTime": now(),
            "selfLink": self.url(f"{place}/operations/{name}"),
            **more,
        }
        operation = Operation(resource, work)
        with self.lock:
            self.operations[name] = operation
        if not self.never_ends(target):
            timer = threading.Timer(self.seconds_for(target), self._finish, [operation])
            timer.daemon = True
            timer.start()
        return operation

    def _finish(self, operation: Operation) -> None:
        if operation.work is not None:
            operation.work()
        if self.never_tells(last_part(operation.resource["targetLink"])):
            return
        with self.lock:
            operation.resource.update(status="DONE", progress=100, endTime=now())
        operation.done.set()

    def fail(self, operation: Operation, code: str, message: str, status: int = 503) -> None:
        """Let the operation end with an error."""
        with self.lock:
            operation.resource["error"] = {"errors": [{"code": code, "message": message}]}
            operation.resource.update(httpErrorStatusCode=status, httpErrorMessage=code)

    def trouble(self, vm: Resource, zone: str, machine_type: str) -> Trouble | None:
        """What keeps this VM from being made, if anything does."""
        region = zone.rpartition("-")[0]
        if region in self.cpu_quota:
            used = sum(
                MACHINE_TYPES[machine["machineType"].rpartition("/")[2]]
                for (place, _), machine in self.instances.items()
                if place.startswith(region)
            )
            limit = self.cpu_quota[region]
            if used + MACHINE_TYPES[machine_type] > limit:
                text = f"Quota 'CPUS' exceeded.  Limit: {limit}.0 in region {region}."
                return Trouble("QUOTA_EXCEEDED", text)
        for trouble in self.troubles:
            if trouble.times > 0 and trouble.hits(vm, zone, machine_type):
                trouble.times -= 1
                return trouble
        return None

    def add(self, project: str, zone: str, vm: Resource, machine_type: str) -> None:
        """A VM comes up. With the lock held."""
        place = f"projects/{project}/zones/{zone}"
        metadata = vm.setdefault("metadata", {})
        metadata["fingerprint"] = fingerprint(metadata)
        vm.update(
            kind="compute#instance",
            id=str(uuid.uuid4().int >> 65),
            zone=self.url(place),
            machineType=self.url(f"{place}/machineTypes/{machine_type}"),
            status="RUNNING",
            creationTimestamp=now(),
            selfLink=self.url(f"{place}/instances/{vm['name']}"),
        )
        vm["disks"][0]["source"] = self.url(f"{place}/disks/{vm['name']}")
        number = len(self.instances) + 2
        vm["networkInterfaces"][0]["networkIP"] = f"10.0.{number // 250}.{number % 250}"
        self.instances[zone, vm["name"]] = vm

    def remove(self, zone: str, name: str) -> None:
        """A VM is gone."""
        with self.lock:
            vm = self.instances.pop((zone, name), None)
        if vm is not None:
            self.on_delete(vm)

    def switch_off(self, name: str, said: str = "") -> None:
        """A VM switches itself off, after it wrote this to its serial port."""
        with self.lock:
            self.consoles[name] = self.consoles.get(name, "") + said
            for (_, known), vm in self.instances.items():
                if known == name:
                    vm["status"] = "TERMINATED"


def last_part(url: str) -> str:
    """The name at the end of a resource's URL."""
    return url.rpartition("/")[2]


def now() -> str:
    """RFC 3339."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.000-00:00", time.gmtime())


def fingerprint(metadata: Resource) -> str:
    """Changes with the contents, and with each change."""
    text = json.dumps([metadata.get("items", []), uuid.uuid4().hex]).encode()
    return base64.b64encode(hashlib.sha256(text).digest()[:8]).decode()
