"""A fake Compute Engine: Google's REST API in this process, as far as Portfire uses it.

There is no emulator of it. This one follows the public reference, checks each request against the
types of google-cloud-compute, and has what a test needs beside the API: troubles, faults, and VMs
that may be real processes (``world.on_start``, ``world.on_delete``, `preempt`).
"""

from __future__ import annotations

import copy
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.services.gce_images import ImageMethods
from tests.services.gce_reading import not_found
from tests.services.gce_requests import NotTheApiError, RefusedError, check_types
from tests.services.gce_world import Resource, Trouble, World

_ZONE, _REGION = "zones/(?P<zone>[^/]+)", "regions/(?P<region>[^/]+)"
_VM, _OPERATION = "instances/(?P<instance>[^/]+)", "operations/(?P<operation>[^/]+)"
#: Verb, path below the project, the API's method, ours.
_ROUTES = [
    ("POST", f"{_ZONE}/instances", "instances.insert", "insert"),
    ("GET", f"{_ZONE}/instances", "instances.list", "list"),
    ("GET", f"{_ZONE}/{_VM}", "instances.get", "get"),
    ("DELETE", f"{_ZONE}/{_VM}", "instances.delete", "delete"),
    ("POST", f"{_ZONE}/{_VM}/setMetadata", "instances.setMetadata", "set_metadata"),
    ("GET", "aggregated/instances", "instances.aggregatedList", "aggregated_list"),
    ("POST", f"{_REGION}/instances/bulkInsert", "regionInstances.bulkInsert", "bulk_insert"),
    ("GET", f"{_ZONE}/operations", "zoneOperations.list", "list_operations"),
    ("GET", f"{_ZONE}/{_OPERATION}", "zoneOperations.get", "get_operation"),
    ("POST", f"{_ZONE}/{_OPERATION}/wait", "zoneOperations.wait", "wait"),
    ("GET", f"{_REGION}/{_OPERATION}", "regionOperations.get", "get_operation"),
    ("POST", f"{_REGION}/{_OPERATION}/wait", "regionOperations.wait", "wait"),
    ("GET", f"global/{_OPERATION}", "globalOperations.get", "get_operation"),
    ("POST", f"global/{_OPERATION}/wait", "globalOperations.wait", "wait"),
    ("GET", f"{_ZONE}/{_VM}/serialPort", "instances.getSerialPortOutput", "serial_port"),
    ("POST", "global/images", "images.insert", "insert_image"),
    ("GET", "global/images/(?P<image>[^/]+)", "images.get", "image"),
    ("DELETE", "global/images/(?P<image>[^/]+)", "images.delete", "delete_image"),
    (
        "GET",
        "global/images/family/(?P<family>[^/]+)",
        "images.getFromFamily",
        "image_from_family",
    ),
    (
        "GET",
        f"{_ZONE}/machineTypes/(?P<machine_type>[^/]+)",
        "machineTypes.get",
        "machine_type",
    ),
    ("GET", f"{_ZONE}/machineTypes", "machineTypes.list", "machine_types"),
    ("GET", "zones", "zones.list", "zones"),
    ("GET", _ZONE, "zones.get", "zones"),
    ("GET", "regions", "regions.list", "regions"),
    (
        "GET",
        f"{_REGION}/subnetworks/(?P<subnetwork>[^/]+)",
        "subnetworks.get",
        "subnetwork",
    ),
    ("GET", f"{_REGION}/routers", "routers.list", "routers"),
    ("GET", _REGION, "regions.get", "regions"),
]


@dataclass
class Fault:
    """An answer in place of the right one, to the next `times` calls of `method` (a pattern)."""

    method: str
    code: int
    reason: str = "backendError"
    message: str = "Backend Error"
    times: int = 1
    #: Do what was asked, and lose the answer.
    after: bool = False


@dataclass(frozen=True)
class Call:
    """A request that came."""

    method: str
    at: dict[str, str]
    query: dict[str, str]
    body: Resource = field(default_factory=dict)


class FakeGce:
    """The server. Use `serving_gce`, which checks at its end that no request was invalid."""

    def __init__(self) -> None:
        handler = type("Handler", (_Handler,), {"gce": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        self.world = World(self.address)
        self.methods = ImageMethods(self.world)
        self.calls: list[Call] = []
        self.faults: list[Fault] = []
        #: What the client sent that the API does not have; a test fails for it.
        self.invalid: list[str] = []
        #: Projects that exist.
        self.projects = {"my-project", "debian-cloud", "cos-cloud"}
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name="fake-gce"
        )

    @property
    def names(self) -> list[str]:
        """Names of the VMs that there are."""
        with self.world.lock:
            return sorted(name for _, name in self.world.instances)

    def vm(self, name: str) -> Resource:
        """The VM of that name."""
        with self.world.lock:
            [vm] = [vm for (_, known), vm in self.world.instances.items() if known == name]
            return vm

    def attributes(self, name: str) -> dict[str, str]:
        """The VM's metadata."""
        return {item["key"]: item["value"] for item in self.vm(name)["metadata"].get("items", [])}

    def called(self, method: str) -> list[Call]:
        """The calls of one of the API's methods, so far."""
        return [call for call in self.calls if call.method == method]

    def stock_out(self, zone: str = "", machine_type: str = "", times: int = 1_000_000) -> None:
        """Have no more VMs of that kind there; "" is any."""
        text = f"The zone 'projects/my-project/zones/{zone or 'europe-west4-a'}' does not have "
        text += "enough resources available to fulfill the request.  Try a different zone."

        def hits(_vm: Resource, place: str, kind: str) -> bool:
            return zone in ("", place) and machine_type in ("", kind)

        code = "ZONE_RESOURCE_POOL_EXHAUSTED"
        self.world.troubles.append(Trouble(code, text, hits, times))

    def preempt(self, name: str, notice_seconds: float = 0.0) -> None:
        """Take a Spot VM away: its notice, then its end."""
        vm = self.vm(name)
        with self.world.lock:
            vm["status"] = "STOPPING"
        self.world.on_preempt(vm)
        if notice_seconds:
            time.sleep(notice_seconds)
        if vm["scheduling"].get("instanceTerminationAction") == "DELETE":
            self.world.remove(vm["zone"].rpartition("/")[2], name)
        else:
            with self.world.lock:
                vm["status"] = "TERMINATED"
            self.world.on_delete(vm)

    def answer(self, verb: str, path: str, query: dict[str, str], text: str) -> Resource:
        """One request. Raises RefusedError, NotTheApiError."""
        at, api, ours = _route(verb, path)
        check_types(api, query, text)
        body = json.loads(text) if text.strip() else {}
        self.calls.append(Call(api, at, query, copy.deepcopy(body)))
        fault = self._fault(api)
        if fault is not None and not fault.after:
            raise RefusedError(fault.code, fault.reason, fault.message)
        if at["project"] not in self.projects:
            raise not_found(f"projects/{at['project']}")
        answer: Resource = getattr(self.methods, ours)(at, query, body)
        if fault is not None:
            raise RefusedError(fault.code, fault.reason, fault.message)
        return answer

    def _fault(self, method: str) -> Fault | None:
        for fault in self.faults:
            if fault.times > 0 and re.fullmatch(fault.method, method):
                fault.times -= 1
                return fault
        return None

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def close(self) -> None:
        """Stop answering; operations that wait are let go."""
        for operation in list(self.world.operations.values()):
            operation.done.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def serving_gce() -> Iterator[FakeGce]:
    """A fake Compute Engine for a while."""
    gce = FakeGce()
    gce.start()
    try:
        yield gce
    finally:
        gce.close()
    assert gce.invalid == []


def _route(verb: str, path: str) -> tuple[dict[str, str], str, str]:
    match = re.fullmatch(r"/compute/v1/projects/(?P<project>[^/]+)/(?P<rest>.*)", path)
    for wanted, pattern, api, ours in _ROUTES if match else []:
        assert match is not None
        found = re.fullmatch(pattern, match["rest"])
        if found is not None and wanted == verb:
            return {"project": match["project"], **found.groupdict()}, api, ours
    raise NotTheApiError(f"no such method: {verb} {path}")


class _Handler(BaseHTTPRequestHandler):
    """HTTP to `FakeGce.answer` and back."""

    gce: FakeGce
    protocol_version = "HTTP/1.1"
    #: Headers and body go out at once; or Nagle's algorithm holds the body back for 40 ms.
    wbufsize = -1

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        text = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        try:
            query = dict(parse_qsl(parts.query))
            answer = self.gce.answer(self.command, parts.path, query, text)
        except RefusedError as exc:
            self._send(exc.code, _error(exc.code, exc.reason, exc.message))
        except Exception as exc:  # noqa: BLE001 - whatever it is, the test is told
            self.gce.invalid.append(f"{self.command} {self.path}: {exc!r}")
            self._send(400, _error(400, "invalid", str(exc)))
        else:
            self._send(200, answer)

    do_GET = do_POST = do_DELETE = _serve  # noqa: N815 - the base class looks for these

    def _send(self, code: int, answer: Any) -> None:
        data = json.dumps(answer).encode()
        try:
            self.send_response(code)
            self.send_header("Content-Type", "application/json; charset=UTF-8")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
        except OSError:
            self.close_connection = True  # the client did not wait

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class' name
        """Nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who asked has gone: such as a VM's process that was killed."""


def _error(code: int, reason: str, message: str) -> Resource:
    item = {"message": message, "domain": "global", "reason": reason}
    return {"error": {"code": code, "message": message, "errors": [item]}}
