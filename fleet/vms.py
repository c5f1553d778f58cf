"""A VM as Compute Engine tells of it, and what came of asking for something on one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from fleet.errors import remedy
from fleet.names import number_of

# Keys of labels. Without hyphens, so that the API's filters take them without quotes.
#: On every VM that Portfire makes; the value is `EXECUTOR`.
LABEL = "portfire"
#: The legal name prefix.
FLEET_LABEL = "portfire_fleet"
#: What one call of `create` made; for cleaning up after it, and nothing else.
BATCH_LABEL = "portfire_batch"
EXECUTOR = "executor"


@dataclass(frozen=True, kw_only=True)
class Vm:
    """A VM, when it was looked at."""

    name: str
    zone: str
    #: PROVISIONING, STAGING, RUNNING, STOPPING, TERMINATED, ...
    status: str
    machine_type: str
    spot: bool
    #: RFC 3339, as the API gives it.
    created: str
    internal_ip: str
    labels: dict[str, str]

    @classmethod
    def of(cls, instance: Any) -> Vm:
        """From the client library's Instance."""
        interfaces = list(instance.network_interfaces)
        return cls(
            name=instance.name,
            zone=last_part(instance.zone),
            status=instance.status,
            machine_type=last_part(instance.machine_type),
            spot=instance.scheduling.provisioning_model == "SPOT",
            created=instance.creation_timestamp,
            internal_ip=interfaces[0].network_i_p if interfaces else "",
            labels=dict(instance.labels),
        )

    def to_dict(self) -> dict[str, object]:
        """For JSON."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of one request on one VM."""

    name: str
    ok: bool
    #: "" if it never had one.
    zone: str = ""
    #: What it is made of, or which was tried last.
    machine_type: str = ""
    #: The API's error code.
    code: str = ""
    #: The API's message.
    reason: str = ""

    @property
    def remedy(self) -> str:
        """What to do about it; "" when it is well or nothing is known."""
        return "" if self.ok else remedy(self.code)

    def to_dict(self) -> dict[str, object]:
        """For JSON."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**fields, "remedy": self.remedy}

    def __str__(self) -> str:
        place = f" in {self.zone}" if self.zone else ""
        if self.ok:
            kind = f", {self.machine_type}" if self.machine_type else ""
            return f"{self.name}{place}{kind}"
        words = [f"{self.name}{place}", f"{self.code}: {self.reason}" if self.code else self.reason]
        return ": ".join([*words, self.remedy] if self.remedy else words)


def sorted_vms(vms: Iterable[Vm]) -> list[Vm]:
    """By prefix, then by number."""
    return sorted(vms, key=lambda vm: (vm.labels.get(FLEET_LABEL, ""), number_of(vm.name), vm.zone))


def last_part(url: str) -> str:
    """The name at the end of a resource's URL."""
    return url.rpartition("/")[2]
