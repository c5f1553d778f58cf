"""The methods of the fake Compute Engine that read its world."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping
from typing import Any

from tests.services.gce_requests import RefusedError, invalid
from tests.services.gce_world import MACHINE_TYPES, ZONES, Resource, World

#: What a page holds, and what a client may ask for, at most.
MAX_RESULTS = 500

_NOTHING = {"code": "NO_RESULTS_ON_PAGE", "message": "There are no results for scope on this page."}


class Reading:
    """Each answers with JSON or raises RefusedError."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.page_size = MAX_RESULTS
        #: Zones whose VMs a list over all zones cannot tell.
        self.unreachable: set[str] = set()
        #: Names of the subnets that are in all regions, and whether they have private access.
        self.subnets = {"default": False}
        #: Routers with NAT, by region.
        self.nats: dict[str, str] = {}
        #: How long `wait` waits at most; two minutes with Google.
        self.wait_seconds = 120.0

    def get(self, at: Mapping[str, str], _query: Mapping[str, str], _body: Resource) -> Resource:
        """instances.get."""
        with self.world.lock:
            return copy.deepcopy(self._instance(at))

    def list(self, at: Mapping[str, str], query: Mapping[str, str], _body: Resource) -> Resource:
        """instances.list."""
        zone = zone_of(at)
        with self.world.lock:
            here = [vm for (place, _), vm in sorted(self.world.instances.items()) if place == zone]
        return self.page([vm for vm in here if matches(vm, query.get("filter", ""))], query)

    def aggregated_list(
        self, _at: Mapping[str, str], query: Mapping[str, str], _body: Resource
    ) -> Resource:
        """instances.aggregatedList: pages over all zones."""
        with self.world.lock:
            everything = [vm for _, vm in sorted(self.world.instances.items())]
        seen = [
            vm
            for vm in everything
            if matches(vm, query.get("filter", ""))
            and vm["zone"].rpartition("/")[2] not in self.unreachable
        ]
        page = self.page(seen, query)
        items: dict[str, Any] = {f"zones/{zone}": {"warning": _NOTHING} for zone in ZONES}
        for vm in page.pop("items", []):
            scope = f"zones/{vm['zone'].rpartition('/')[2]}"
            items[scope] = {"instances": [*items[scope].get("instances", []), vm]}
        unreachables = [f"zones/{zone}" for zone in sorted(self.unreachable)]
        return {**page, "items": items, "unreachables": unreachables}

    def list_operations(
        self, at: Mapping[str, str], query: Mapping[str, str], _body: Resource
    ) -> Resource:
        """zoneOperations.list."""
        place = self.world.url(f"projects/{at['project']}/zones/{zone_of(at)}")
        with self.world.lock:
            known = [operation.resource for operation in self.world.operations.values()]
        seen = [
            operation
            for operation in known
            if operation.get("zone") == place and matches(operation, query.get("filter", ""))
        ]
        return self.page(seen, query)

    def get_operation(
        self, at: Mapping[str, str], _query: Mapping[str, str], _body: Resource
    ) -> Resource:
        """zoneOperations.get, regionOperations.get."""
        operation = self.world.operations.get(at["operation"])
        if operation is None:
            raise not_found(at["operation"])
        with self.world.lock:
            return dict(operation.resource)

    def wait(self, at: Mapping[str, str], query: Mapping[str, str], body: Resource) -> Resource:
        """zoneOperations.wait: answers when the operation has ended, or after a while."""
        operation = self.world.operations.get(at["operation"])
        if operation is not None:
            operation.done.wait(self.wait_seconds)
        return self.get_operation(at, query, body)

    def page(self, resources: Iterable[Resource], query: Mapping[str, str]) -> Resource:
        """A page of `resources`."""
        everything = list(resources)
        size = min(int(query.get("maxResults", MAX_RESULTS)), self.page_size)
        start = int(query.get("pageToken") or 0)
        answer: Resource = {"items": copy.deepcopy(everything[start : start + size])}
        if start + size < len(everything):
            answer["nextPageToken"] = str(start + size)
        return answer

    def _instance(self, at: Mapping[str, str]) -> Resource:
        vm = self.world.instances.get((zone_of(at), at["instance"]))
        if vm is None:
            place = f"projects/{at['project']}/zones/{at['zone']}"
            raise not_found(f"{place}/instances/{at['instance']}")
        return vm

    def image_from_family(
        self, at: Mapping[str, str], _query: Mapping[str, str], _body: Resource
    ) -> Resource:
        """images.getFromFamily."""
        if f"{at['project']}/{at['family']}" not in self.world.families:
            raise not_found(f"projects/{at['project']}/global/images/family/{at['family']}")
        name = f"{at['family']}-v20261101"
        link = self.world.url(f"projects/{at['project']}/global/images/{name}")
        return {"name": name, "family": at["family"], "status": "READY", "selfLink": link}

    def machine_type(
        self, at: Mapping[str, str], _query: Mapping[str, str], _body: Resource
    ) -> Resource:
        """machineTypes.get."""
        if at["machine_type"] not in MACHINE_TYPES:
            raise not_found(f"zones/{zone_of(at)}/machineTypes/{at['machine_type']}")
        return _machine_type(at["machine_type"])

    def machine_types(
        self, at: Mapping[str, str], query: Mapping[str, str], _body: Resource
    ) -> Resource:
        """machineTypes.list."""
        zone_of(at)
        return self.page(map(_machine_type, MACHINE_TYPES), query)

    def zones(self, at: Mapping[str, str], query: Mapping[str, str], _body: Resource) -> Resource:
        """zones.list, zones.get."""
        if "zone" in at:
            return self._zone(zone_of(at))
        return self.page(map(self._zone, ZONES), query)

    def regions(self, at: Mapping[str, str], query: Mapping[str, str], _body: Resource) -> Resource:
        """regions.list, regions.get."""
        names = dict.fromkeys(zone.rpartition("-")[0] for zone in ZONES)
        if "region" in at:
            if at["region"] not in names:
                raise not_found(f"projects/{at['project']}/regions/{at['region']}")
            names = {at["region"]: None}
        regions = [
            {
                "name": name,
                "status": "UP",
                "zones": [self.world.url(f"zones/{zone}") for zone in ZONES if name in zone],
            }
            for name in names
        ]
        return regions[0] if "region" in at else self.page(regions, query)

    def subnetwork(
        self, at: Mapping[str, str], _query: Mapping[str, str], _body: Resource
    ) -> Resource:
        """subnetworks.get."""
        name = at["subnetwork"]
        if name not in self.subnets:
            place = f"projects/{at['project']}/regions/{at['region']}"
            raise not_found(f"{place}/subnetworks/{name}")
        network = self.world.url(f"projects/{at['project']}/global/networks/default")
        return {"name": name, "network": network, "privateIpGoogleAccess": self.subnets[name]}

    def routers(self, at: Mapping[str, str], query: Mapping[str, str], _body: Resource) -> Resource:
        """routers.list."""
        network = self.world.url(f"projects/{at['project']}/global/networks/default")
        router = self.nats.get(at["region"])
        nats = [{"name": "nat"}]
        return self.page(
            [{"name": router, "network": network, "nats": nats}] if router else [], query
        )

    def _zone(self, name: str) -> Resource:
        region = self.world.url(f"regions/{name.rpartition('-')[0]}")
        return {"name": name, "status": "UP", "region": region}


def _machine_type(name: str) -> Resource:
    return {"name": name, "guestCpus": MACHINE_TYPES[name], "memoryMb": 4096 * MACHINE_TYPES[name]}


def not_found(what: str) -> RefusedError:
    """404, in the API's words."""
    return RefusedError(404, "notFound", f"The resource '{what}' was not found")


def zone_of(at: Mapping[str, str]) -> str:
    """The zone in the URL, if there is one such."""
    if at["zone"] not in ZONES:
        raise not_found(f"projects/{at['project']}/zones/{at['zone']}")
    return at["zone"]


def matches(resource: Resource, text: str) -> bool:
    """The part of the API's filter language that we use: ``a.b=VALUE AND …``."""
    for term in filter(None, text.split(" AND ")):
        match = re.fullmatch(r'([\w.-]+)\s*=\s*"?([^"]*)"?', term.strip())
        if match is None:
            raise invalid(f"Invalid value for field 'filter': '{text}'.")
        value: Any = resource
        for key in match[1].split("."):
            value = value.get(key, {}) if isinstance(value, dict) else {}
        if value != match[2]:
            return False
    return True
