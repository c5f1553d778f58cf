"""Where a fleet's VMs are."""

from __future__ import annotations

from dataclasses import dataclass

from messaging.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Place:
    """A project, and in it a zone or a region."""

    project: str
    zone: str = ""
    region: str = ""

    def __post_init__(self) -> None:
        """Raises UsageError when it is neither or both, or one is mixed up with the other."""
        if bool(self.zone) == bool(self.region):
            raise UsageError(
                "name a place: --zone europe-west4-a, or --region europe-west4 for wherever in it "
                "there is room"
            )
        # europe-west4-a has one hyphen more than its region.
        if self.zone and self.zone.count("-") < 2:
            raise UsageError(f"{self.zone!r} is no zone; as a region, name it by --region")
        if self.region and self.region.count("-") != 1:
            raise UsageError(f"{self.region!r} is no region; as a zone, name it by --zone")

    @property
    def path(self) -> str:
        """``zones/Z`` or ``regions/R``."""
        return f"zones/{self.zone}" if self.zone else f"regions/{self.region}"
