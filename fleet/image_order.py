"""What image is asked for, and the API's description of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fleet.template import check_labels
from fleet.vms import BATCH_LABEL, LABEL
from messaging.errors import UsageError

#: Of RFC 1035, for images and families.
_NAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
#: `_MAX_PREFIX` of VMs' names must hold it with "-builder".
_MAX_IN_VM_NAME = 40


@dataclass(frozen=True, kw_only=True)
class ImageOrder:
    """An image to make."""

    name: str
    #: `gce create -f` takes the newest of a family.
    family: str = "portfire"
    labels: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises UsageError when an image could not be called so."""
        for what, name in (("image", self.name), ("image family", self.family)):
            if not _NAME.fullmatch(name):
                raise UsageError(
                    f"{name!r} is no name for an {what}: small letters, digits and hyphens, a "
                    "letter first, at most 63, such as portfire-1"
                )
            if what == "image family" and name.startswith(("debian-", "ubuntu-", "cos-")):
                # `gce create -f` would look for it among Google's images.
                raise UsageError(f"image family {name!r} is called as Google's are: choose another")
        check_labels(self.labels)

    @property
    def builder(self) -> str:
        """Name prefix of the VM from whose disk it is made."""
        return f"{self.name[:_MAX_IN_VM_NAME].rstrip('-')}-builder"

    def body(self, disk: str, batch: str) -> dict[str, Any]:
        """The API's Image in JSON, from this disk; `batch` tells that this run made it."""
        return {
            "name": self.name,
            "family": self.family,
            "description": "Docker and Portfire: the executor starts with the VM",
            "labels": {**self.labels, LABEL: "image", BATCH_LABEL: batch},
            "sourceDisk": disk,
        }
