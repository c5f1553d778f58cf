"""The methods of the fake Compute Engine that change its world."""

from __future__ import annotations

import copy
import re
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from tests.services.gce_reading import Reading, not_found, zone_of
from tests.services.gce_requests import (
    RefusedError,
    check_metadata,
    check_name,
    check_properties,
    invalid,
)
from tests.services.gce_world import (
    MACHINE_TYPES,
    ZONES,
    Operation,
    Resource,
    World,
    fingerprint,
)


class Methods(Reading):
    """One method for each of the API's; each answers with JSON or raises RefusedError."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        #: How often somebody else changes a VM's metadata between our reading and our writing.
        self.conflicts = 0

    # Making -------------------------------------------------------------------------------------

    def insert(self, at: Mapping[str, str], query: Mapping[str, str], body: Resource) -> Resource:
        """instances.insert."""
        zone = zone_of(at)
        check_name(body["name"])
        machine_type = check_properties(body, zone=zone)
        self._check_sources(body, [machine_type])
        return self._once(query, lambda: self._insert(at["project"], zone, body, machine_type))

    def _insert(self, project: str, zone: str, vm: Resource, kind: str, **more: Any) -> Operation:
        world, name = self.world, vm["name"]
        if (zone, name) in world.instances:
            what = f"projects/{project}/zones/{zone}/instances/{name}"
            raise RefusedError(409, "alreadyExists", f"The resource '{what}' already exists")

        def work() -> None:
            with world.lock:
                trouble = world.trouble(vm, zone, kind)
                if trouble is None:
                    world.add(project, zone, vm, kind)
            if trouble is None:
                world.on_start(vm)
            else:
                world.fail(operation, trouble.code, trouble.message)

        operation = world.operate(f"projects/{project}/zones/{zone}", "insert", name, work, **more)
        return operation

    def bulk_insert(
        self, at: Mapping[str, str], query: Mapping[str, str], body: Resource
    ) -> Resource:
        """regionInstances.bulkInsert: places each VM where it can be had, or none."""
        region = at["region"]
        zones = [zone for zone in ZONES if zone.rpartition("-")[0] == region]
        if not zones:
            raise not_found(f"projects/{at['project']}/regions/{region}")
        names = list(body.get("perInstanceProperties", {}))
        for name in names:
            check_name(name)
        if not names or int(body.get("count", 0)) != len(names):
            raise invalid("Invalid value for field 'resource.count'.")
        properties = dict(body["instanceProperties"])
        policy = body.get("instanceFlexibilityPolicy", {}).get("instanceSelections", {})
        ranked = sorted(policy.values(), key=lambda selection: int(selection.get("rank", 0)))
        kinds = [kind for selection in ranked for kind in selection["machineTypes"]]
        if kinds and properties.get("machineType"):
            raise invalid("machineType and instanceFlexibilityPolicy exclude each other.")
        kinds = kinds or [properties.get("machineType", "")]
        check_properties({**properties, "machineType": kinds[0]}, zone=None)
        self._check_sources(properties, kinds)
        least = int(body.get("minCount", len(names)))
        return self._once(
            query, lambda: self._place(at["project"], region, properties, names, kinds, least)
        )

    def _place(
        self, project: str, region: str, base: Resource, names: list[str], kinds: list[str], n: int
    ) -> Operation:
        world, group = self.world, f"group-{uuid.uuid4()}"
        zones = [zone for zone in ZONES if zone.rpartition("-")[0] == region]
        started: list[Resource] = []

        def work() -> None:
            failed: list[tuple[str, Any]] = []
            with world.lock:
                for number, name in enumerate(names):
                    vm = {**copy.deepcopy(base), "name": name}
                    zone, trouble = self._first_place(project, vm, zones, kinds, number)
                    if trouble is None:
                        started.append(vm)
                    else:
                        failed.append((name, (zone, trouble)))
            for name, (zone, trouble) in failed:
                place = f"projects/{project}/zones/{zone}"
                part = world.operate(place, "insert", name, None, operationGroupId=group)
                world.fail(part, trouble.code, trouble.message)
            if len(started) < n:
                for vm in started:
                    world.remove(vm["zone"].rpartition("/")[2], vm["name"])
                trouble = failed[0][1][1]
                world.fail(operation, trouble.code, trouble.message)
                return
            for vm in started:
                world.on_start(vm)

        place = f"projects/{project}/regions/{region}"
        operation = world.operate(place, "bulkInsert", names[0], work, operationGroupId=group)
        return operation

    def _first_place(
        self, project: str, vm: Resource, zones: list[str], kinds: list[str], number: int
    ) -> tuple[str, Any]:
        if any(name == vm["name"] and zone in zones for zone, name in self.world.instances):
            raise AssertionError(f"{vm['name']} is asked for twice")
        for kind in kinds:
            for step in range(len(zones)):
                zone = zones[(number + step) % len(zones)]
                trouble = self.world.trouble(vm, zone, kind)
                if trouble is None:
                    self.world.add(project, zone, vm, kind)
                    return zone, None
        return zone, trouble

    def _check_sources(self, properties: Resource, kinds: Iterable[str]) -> None:
        for kind in kinds:
            if kind not in MACHINE_TYPES:
                raise invalid(f"Invalid value for field 'resource.machineType': '{kind}'.")
        source = properties["disks"][0]["initializeParams"]["sourceImage"]
        match = re.fullmatch(r"projects/([^/]+)/global/images/(?:family/)?([^/]+)", source)
        if match is None:
            raise invalid(f"Invalid value for field 'sourceImage': '{source}'.")
        if f"{match[1]}/{match[2]}" not in self.world.families:
            raise not_found(source)

    def _once(self, query: Mapping[str, str], start: Any) -> Resource:
        """A request with an id that came before is answered by the same operation."""
        request = query.get("requestId", uuid.uuid4().hex)
        with self.world.lock:
            if request not in self.world.requests:
                self.world.requests[request] = start().resource["name"]
            return dict(self.world.operations[self.world.requests[request]].resource)

    # Changing -----------------------------------------------------------------------------------

    def delete(self, at: Mapping[str, str], query: Mapping[str, str], _body: Resource) -> Resource:
        """instances.delete."""
        zone, name = zone_of(at), at["instance"]
        request = query.get("requestId", "")
        if request not in self.world.requests:
            with self.world.lock:
                self._instance(at)["status"] = "STOPPING"
        place = f"projects/{at['project']}/zones/{zone}"

        def work() -> None:
            self.world.remove(zone, name)

        return self._once(query, lambda: self.world.operate(place, "delete", name, work))

    def set_metadata(
        self, at: Mapping[str, str], query: Mapping[str, str], body: Resource
    ) -> Resource:
        """instances.setMetadata: all of it at once, if nobody else was quicker."""
        with self.world.lock:
            vm = self._instance(at)
            check_metadata(body)
            if self.conflicts > 0:
                self.conflicts -= 1
                vm["metadata"]["fingerprint"] = fingerprint(vm["metadata"])
            if body.get("fingerprint") != vm["metadata"]["fingerprint"]:
                raise RefusedError(412, "conditionNotMet", "Supplied fingerprint does not match.")
            vm["metadata"] = {"items": body.get("items", []), "fingerprint": fingerprint(body)}
        self.world.on_metadata(vm)
        place = f"projects/{at['project']}/zones/{at['zone']}"
        return self._once(
            query, lambda: self.world.operate(place, "setMetadata", at["instance"], None)
        )
