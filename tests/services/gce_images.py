"""The methods of the fake Compute Engine on images, and what a VM writes to its serial port."""

from __future__ import annotations

import re
from collections.abc import Mapping

from tests.services.gce_methods import Methods
from tests.services.gce_reading import not_found
from tests.services.gce_requests import RefusedError, check_name, invalid
from tests.services.gce_world import Resource


class ImageMethods(Methods):
    """All of the fake's methods."""

    def serial_port(
        self, at: Mapping[str, str], query: Mapping[str, str], _body: Resource
    ) -> Resource:
        """instances.getSerialPortOutput."""
        with self.world.lock:
            self._instance(at)
            text = self.world.consoles.get(at["instance"], "")
        start = int(query.get("start", 0))
        return {"contents": text[start:], "start": str(start), "next": str(len(text))}

    def image(self, at: Mapping[str, str], _query: Mapping[str, str], _body: Resource) -> Resource:
        """images.get."""
        with self.world.lock:
            if at["image"] not in self.world.images:
                raise not_found(f"projects/{at['project']}/global/images/{at['image']}")
            return dict(self.world.images[at["image"]])

    def insert_image(
        self, at: Mapping[str, str], query: Mapping[str, str], body: Resource
    ) -> Resource:
        """images.insert: of the disk of a VM that is off."""
        world, name, project = self.world, body["name"], at["project"]
        check_name(name)
        pattern = r"projects/([^/]+)/zones/([^/]+)/disks/([^/]+)"
        match = re.fullmatch(pattern, body.get("sourceDisk", ""))
        if match is None:
            raise invalid(f"Invalid value for field 'sourceDisk': '{body.get('sourceDisk')}'.")
        with world.lock:
            vm = world.instances.get((match[2], match[3]))
        if vm is None:
            raise not_found(body["sourceDisk"])
        if vm["status"] != "TERMINATED":
            text = f"The disk resource '{match[0]}' is already being used by '{match[3]}'"
            raise RefusedError(400, "resourceInUseByAnotherResource", text)

        def work() -> None:
            with world.lock:
                world.images[name]["status"] = "READY"
                world.families.add(f"{project}/{body['family']}")

        place = f"projects/{project}/global"
        with world.lock:
            if name in world.images and query.get("requestId") not in world.requests:
                what = f"projects/{project}/global/images/{name}"
                raise RefusedError(409, "alreadyExists", f"The resource '{what}' already exists")
            world.images.setdefault(name, {**body, "status": "PENDING"})
            return self._once(query, lambda: world.operate(place, "insert", name, work))

    def delete_image(
        self, at: Mapping[str, str], query: Mapping[str, str], _body: Resource
    ) -> Resource:
        """images.delete."""
        self.image(at, query, {})

        def work() -> None:
            with self.world.lock:
                self.world.images.pop(at["image"], None)

        place = f"projects/{at['project']}/global"
        return self._once(query, lambda: self.world.operate(place, "delete", at["image"], work))
