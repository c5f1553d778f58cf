"""Access to Compute Engine: the few calls that Portfire makes, each tried again while it may help.

Requests are Google's REST JSON, read into the client library's own types before they are sent, so
that a wrong field is an error here and not an option that was ignored there. What changes something
carries a request id: tried again after a lost answer, it is done once.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import requests
from google.api_core.retry import Retry
from google.auth.credentials import AnonymousCredentials
from google.cloud import compute_v1

from fleet.credentials import application_default
from fleet.errors import ComputeError, is_passing, one_line, translated
from fleet.vms import Vm, last_part
from messaging.errors import NotFoundError, ServiceError, UsageError

#: An answer to a call that does not wait for anything takes less, seconds.
_CALL_SECONDS = 60.0
#: `wait` answers after two minutes even if the operation has not ended.
_WAIT_SECONDS = 130.0
#: Between two questions after the same operation, when the server does not wait; seconds.
_PAUSE_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long to wait for Compute Engine, in seconds."""

    #: For an operation to end.
    operation: float = 600.0
    #: For a call that fails for a passing reason.
    retry: float = 60.0


@dataclass(frozen=True)
class Pending:
    """An operation that was started, in ``zones/Z``, ``regions/R`` or ``global``."""

    place: str
    name: str


@dataclass(frozen=True)
class Failure:
    """Why an operation failed, in the API's words."""

    code: str
    message: str


class NeverEndedError(ComputeError):
    """An operation did not end in time: what it does may still happen."""


class Api:
    """Calls for one project. Thread-safe; all block. Raises as `errors.translated` does."""

    def __init__(self, project: str, endpoint: str = "", patience: Patience | None = None) -> None:
        """Connect lazily; raises UsageError when there are no credentials or no project.

        `endpoint` is another server than Google's; one at ``http://`` gets no credentials.
        """
        self.patience = patience or Patience()
        credentials, default_project = _credentials(endpoint)
        self.project = project or default_project
        if not self.project:
            raise UsageError(
                "no Google Cloud project: name one by --project or GOOGLE_CLOUD_PROJECT"
            )
        options: dict[str, Any] = {"credentials": credentials}
        if endpoint:
            address = endpoint.rstrip("/").removesuffix("/compute/v1")
            options["client_options"] = {"api_endpoint": address}
        self._options = options
        #: Zones whose VMs the last call of `vms` could not see.
        self.unseen: list[str] = []
        self._instances = compute_v1.InstancesClient(**options)
        self._regional = compute_v1.RegionInstancesClient(**options)
        self._regions = compute_v1.RegionsClient(**options)
        self._images = compute_v1.ImagesClient(**options)
        self._operations = {
            "zones": compute_v1.ZoneOperationsClient(**options),
            "regions": compute_v1.RegionOperationsClient(**options),
            "global": compute_v1.GlobalOperationsClient(**options),
        }

    def client(self, kind: Callable[..., Any]) -> Any:
        """Another of the library's clients, connected as this is; for use with `call`."""
        return kind(**self._options)

    def insert(self, zone: str, instance: dict[str, Any]) -> Pending:
        """Start making a VM of the API's Instance in JSON."""
        resource = compute_v1.Instance.from_json(json.dumps(instance))
        operation = self.call(
            f"make VM {instance['name']} in {zone}",
            self._instances.insert_unary,
            compute_v1.InsertInstanceRequest(
                project=self.project, zone=zone, instance_resource=resource, request_id=new_id()
            ),
        )
        return Pending(f"zones/{zone}", operation.name)

    def bulk_insert(self, region: str, resource: dict[str, Any]) -> tuple[Pending, str]:
        """Start making VMs in a region; the operation, and the group of its parts."""
        body = compute_v1.BulkInsertInstanceResource.from_json(json.dumps(resource))
        operation = self.call(
            f"make VMs in {region}",
            self._regional.bulk_insert_unary,
            compute_v1.BulkInsertRegionInstanceRequest(
                project=self.project,
                region=region,
                bulk_insert_instance_resource_resource=body,
                request_id=new_id(),
            ),
        )
        return Pending(f"regions/{region}", operation.name), operation.operation_group_id

    def delete(self, zone: str, name: str) -> Pending:
        """Start deleting a VM; raises NotFoundError when there is none."""
        operation = self.call(
            f"delete VM {name} in {zone}",
            self._instances.delete_unary,
            compute_v1.DeleteInstanceRequest(
                project=self.project, zone=zone, instance=name, request_id=new_id()
            ),
        )
        return Pending(f"zones/{zone}", operation.name)

    def metadata(self, zone: str, name: str) -> tuple[list[tuple[str, str]], str]:
        """A VM's attributes, and their fingerprint."""
        instance = self.call(
            f"read VM {name} in {zone}",
            self._instances.get,
            compute_v1.GetInstanceRequest(project=self.project, zone=zone, instance=name),
        )
        items = [(item.key, item.value) for item in instance.metadata.items]
        return items, instance.metadata.fingerprint

    def set_metadata(self, zone: str, name: str, metadata: dict[str, Any]) -> Pending:
        """Start to replace a VM's attributes; the API refuses when the fingerprint is old."""
        operation = self.call(
            f"set metadata of VM {name} in {zone}",
            self._instances.set_metadata_unary,
            compute_v1.SetMetadataInstanceRequest(
                project=self.project,
                zone=zone,
                instance=name,
                metadata_resource=compute_v1.Metadata.from_json(json.dumps(metadata)),
                request_id=new_id(),
            ),
        )
        return Pending(f"zones/{zone}", operation.name)

    def vms(self, labels: dict[str, str]) -> tuple[list[Vm], list[str]]:
        """The VMs in all zones that have these labels; and the zones that could not be seen."""
        terms = " AND ".join(f"labels.{key}={value}" for key, value in labels.items())
        request = compute_v1.AggregatedListInstancesRequest(project=self.project, filter=terms)
        found: list[Vm] = []
        unseen: set[str] = set()

        def read() -> None:
            found.clear()
            pager = self._instances.aggregated_list(
                request=request, retry=self._retry(), timeout=_CALL_SECONDS
            )
            for page in pager.pages:
                unseen.update(last_part(scope) for scope in page.unreachables)
                for scope in page.items.values():
                    found.extend(Vm.of(instance) for instance in scope.instances)

        try:
            with translated(f"list the VMs of project {self.project}"):
                read()
        except NotFoundError as exc:
            # There is no such project.
            raise UsageError(str(exc)) from exc
        self.unseen = sorted(unseen)
        return found, self.unseen

    def check_image(self, project: str, family: str) -> None:
        """Raises UsageError when there is no such image family, or none may be seen."""
        request = compute_v1.GetFromFamilyImageRequest(project=project, family=family)
        try:
            self.call(f"read image family {family}", self._images.get_from_family, request)
        except NotFoundError as exc:
            raise UsageError(
                f"there is no image family {family!r} in project {project!r}: name one by "
                "-f FAMILY, such as debian-12, or make one by `portfire gce make-image`"
            ) from exc

    def wait(self, pending: Pending, until: float) -> Failure | None:
        """Wait for an operation's end, until that time by `time.monotonic`; why it failed, if so.

        Raises NeverEndedError when it has not ended by then.
        """
        kind, _, place = pending.place.partition("/")
        client = self._operations[kind]
        request = {"project": self.project, "operation": pending.name}
        if place:
            request[kind.rstrip("s")] = place
        place = place or f"project {self.project}"
        while True:
            asked = time.monotonic()
            left = until - asked
            try:
                with translated(f"see how operation {pending.name} in {place} is going on"):
                    # After the deadline one look still tells whether it ended in time.
                    operation = (client.wait if left > 0 else client.get)(
                        request=request,
                        retry=self._retry(no_timeouts=left > 0),
                        timeout=min(_WAIT_SECONDS, max(left, 1.0)),
                    )
            except ServiceError as exc:
                if left > 0 and isinstance(exc.__cause__, requests.exceptions.Timeout):
                    continue
                raise
            if operation.status == compute_v1.Operation.Status.DONE:
                return _failure(operation)
            if left <= 0:
                break
            time.sleep(min(max(0.0, _PAUSE_SECONDS - (time.monotonic() - asked)), left))
        raise NeverEndedError(
            f"operation {pending.name} in {place} has not ended in time: "
            "see `portfire gce list` later"
        )

    def zones_of(self, region: str) -> list[str]:
        """Names of a region's zones."""
        request = compute_v1.GetRegionRequest(project=self.project, region=region)
        found = self.call(f"read region {region}", self._regions.get, request)
        return [last_part(zone) for zone in found.zones]

    def failures_of_group(self, zones: Iterable[str], group: str) -> dict[str, Failure]:
        """By VM, why parts of a bulk insert failed, as far as the API still tells."""
        failures = {}
        for zone in zones:
            request = compute_v1.ListZoneOperationsRequest(
                project=self.project, zone=zone, filter=f'operationGroupId="{group}"'
            )
            for operation in self.call(
                f"list the operations in {zone}", self._operations["zones"].list, request
            ):
                if failure := _failure(operation):
                    failures[last_part(operation.target_link)] = failure
        return failures

    def call(
        self, action: str, method: Callable[..., Any], request: Any, permission: str = ""
    ) -> Any:
        """One call, tried again while it may help; `permission` is what to do if it is lacking."""
        with translated(action, permission):
            return method(request=request, retry=self._retry(), timeout=_CALL_SECONDS)

    def _retry(self, *, no_timeouts: bool = False) -> Retry:
        def again(error: BaseException) -> bool:
            if no_timeouts and isinstance(error, requests.exceptions.Timeout):
                return False
            return is_passing(error)

        return Retry(
            predicate=again, initial=0.25, maximum=10.0, multiplier=2.0, timeout=self.patience.retry
        )


def _credentials(endpoint: str) -> tuple[Any, str]:
    if endpoint.startswith("http://"):
        return AnonymousCredentials(), ""
    return application_default()


def _failure(operation: Any) -> Failure | None:
    """The error of an operation that has ended, if any."""
    for error in operation.error.errors:
        return Failure(error.code, one_line(error.message))
    if operation.http_error_status_code:
        return Failure(str(operation.http_error_status_code), operation.http_error_message)
    return None


def new_id() -> str:
    """For a request that is to be done once, however often it is sent."""
    return str(uuid.uuid4())
