"""Where an executor runs: what the VM's metadata say when it starts."""

from __future__ import annotations

import difflib
import json
import logging
import queue
import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from executor.settings import ExecutorSettings
from executor.vm.metadata import MetadataConnection, Metadatum
from messaging.errors import NotFoundError, PortfireError, ServiceError

log = logging.getLogger(__name__)

ATTRIBUTES = "instance/attributes/"
#: How long the start waits for the metadata server, in seconds: it is beside the VM.
START_SECONDS = 5.0
_READ_SECONDS = 3.0
#: Attributes that only nodes of Kubernetes have: such a VM is not the executor's own.
_KUBERNETES = ("cluster-name", "kube-env")
#: Seconds for which an executor on a VM idles, unless told otherwise: Borealis' values.
_IDLE_FOR_ROCKETS = 900.0
_IDLE_FOR_WAITERS = 3600.0


@dataclass(frozen=True, kw_only=True)
class Vm:
    """A Compute Engine VM, as its metadata server described it; empty where it could not."""

    #: Where the metadata server is.
    host: str
    name: str = ""
    #: Such as ``us-central1-a``.
    zone: str = ""
    project: str = ""
    #: Whether it may be preempted: it may go with 30 seconds' notice, or with none.
    preemptible: bool = False
    attributes: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_shared(self) -> bool:
        """Whether the VM is a Kubernetes node, on which others work too."""
        return any(name in self.attributes for name in _KUBERNETES)

    def defaults(self) -> dict[str, Any]:
        """Settings that go with being there, for whoever was told nothing else."""
        idle = {"idle_for_rockets": _IDLE_FOR_ROCKETS, "idle_for_waiters": _IDLE_FOR_WAITERS}
        return {**idle, "executor_id": self.name} if self.name else idle

    def complete(self, settings: ExecutorSettings) -> ExecutorSettings:
        """These settings, in the VM's own project if nothing says where Pub/Sub is."""
        if settings.project or settings.emulator_host:
            return settings
        return settings.model_copy(update={"project": self.project})


def describe_vm(host: str, seconds: float = START_SECONDS) -> Vm:
    """What the metadata server at `host` says of this VM, within `seconds`; never raises.

    One line in the log when it does not say it.
    """
    answers: queue.SimpleQueue[Vm | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(_read(MetadataConnection(host)))
        except Exception as exc:  # noqa: BLE001 - handed to who waits for it
            answers.put(exc)

    # A thread, for neither looking up a name nor a server that drips has a bound of its own.
    threading.Thread(target=ask, name="vm-description", daemon=True).start()
    try:
        answer = answers.get(timeout=seconds)
    except queue.Empty:
        answer = ServiceError(f"metadata server {host} did not answer within {seconds:g} s")
    if isinstance(answer, Vm):
        return answer
    if not isinstance(answer, PortfireError):
        answer = ServiceError(f"metadata server {host} cannot be understood: {answer!r}")
    log.warning("%s: going on without this VM's metadata", answer)
    return Vm(host=host)


def read_identity(host: str) -> Vm:
    """Name, zone and project of this VM; raises ServiceError, NotFoundError."""
    connection = MetadataConnection(host)
    return Vm(
        host=host,
        name=_text(connection.read("instance/name", _READ_SECONDS)),
        zone=_last_part(connection.read("instance/zone", _READ_SECONDS)),
        project=_text(connection.read("project/project-id", _READ_SECONDS)),
    )


def is_preempted(host: str) -> bool:
    """Whether this VM is being preempted, as far as can be told within a second."""
    try:
        return _text(MetadataConnection(host).read("instance/preempted", 1.0)) == "TRUE"
    except PortfireError:
        return False


def parse_attributes(text: str) -> dict[str, str]:
    """The attributes in the metadata server's JSON; raises ServiceError."""
    try:
        attributes = json.loads(text)
    except ValueError as exc:
        raise ServiceError(f"the VM's metadata attributes are not JSON: {exc}") from exc
    if not isinstance(attributes, dict):
        raise ServiceError("the VM's metadata attributes are no JSON object")
    return {str(name): str(value) for name, value in attributes.items()}


def warn_of_misspellings(attributes: Collection[str], settings: Collection[str]) -> None:
    """One line for each attribute that is no setting but looks like one."""
    for attribute in attributes:
        if attribute in settings:
            continue
        plain = attribute.lower().replace("-", "_").removeprefix("portfire_")
        if near := difflib.get_close_matches(plain, settings, n=1, cutoff=0.85):
            log.warning(
                "metadata attribute %s is no setting and not used: did you mean %s?",
                attribute,
                near[0],
            )


def _read(connection: MetadataConnection) -> Vm:
    def optional(path: str) -> Metadatum:
        try:
            return connection.read(path, _READ_SECONDS)
        except NotFoundError:
            return Metadatum("", None)

    attributes = connection.read(ATTRIBUTES, _READ_SECONDS, recursive="true")
    return Vm(
        host=connection.host,
        name=_text(optional("instance/name")),
        zone=_last_part(optional("instance/zone")),
        project=_text(optional("project/project-id")),
        preemptible=_text(optional("instance/scheduling/preemptible")).upper() == "TRUE",
        attributes=parse_attributes(attributes.text),
    )


def _text(found: Metadatum) -> str:
    return found.text.strip()


def _last_part(found: Metadatum) -> str:
    """Metadata name a zone ``projects/NUMBER/zones/NAME``."""
    return _text(found).rpartition("/")[2]
