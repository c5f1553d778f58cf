"""Where a fleet's VMs are."""

from __future__ import annotations

import re
from dataclasses import dataclass

from messaging.errors import UsageError

_REGION = re.compile(r"[a-z]+-[a-z]+\d+")
#: Also of the kind us-central1-ai1a.
_ZONE = re.compile(r"[a-z]+-[a-z]+\d+-[a-z0-9]+")
_LISTS = "`gcloud compute zones list` names them"


@dataclass(frozen=True, kw_only=True)
class Place:
    """A project, and in it a zone or a region."""

    project: str
    zone: str = ""
    region: str = ""

    def __post_init__(self) -> None:
        """Raises UsageError when it is neither or both, or one is mixed up with the other."""
        if self.zone and self.region:
            raise UsageError("name --zone or --region, not both: a region is any of its zones")
        if not self.zone and not self.region:
            raise UsageError(
                "name a place: --zone europe-west4-a, or --region europe-west4 for wherever in it "
                "there is room"
            )
        # europe-west4-a has one hyphen more than its region.
        if self.zone and not _ZONE.fullmatch(self.zone):
            advice = "as a region, name it by --region" if _REGION.fullmatch(self.zone) else _LISTS
            raise UsageError(f"{self.zone!r} is no zone; {advice}")
        if self.region and not _REGION.fullmatch(self.region):
            advice = "as a zone, name it by --zone" if _ZONE.fullmatch(self.region) else _LISTS
            raise UsageError(f"{self.region!r} is no region; {advice}")

    @property
    def path(self) -> str:
        """``zones/Z`` or ``regions/R``."""
        return f"zones/{self.zone}" if self.zone else f"regions/{self.region}"
