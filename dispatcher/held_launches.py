"""The launches that a pool's dispatcher holds: RESERVED or RUNNING, as the LaunchPad has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dispatcher.launch_documents import (
    ACTIVE,
    NOTE,
    Claimant,
    attempt_of,
    is_published,
    job_id,
)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A launch of ours that is RESERVED or RUNNING, and what a job message needs of it."""

    launch: dict[str, Any]
    #: None when the Firework does not have this launch (any more).
    firework: dict[str, Any] | None

    @property
    def launch_id(self) -> int:
        """FireWorks' id of the launch."""
        return int(self.launch["launch_id"])

    @property
    def fw_id(self) -> int:
        """FireWorks' id of the Firework."""
        return int(self.launch["fw_id"])

    @property
    def job_id(self) -> str:
        """Correlation id of the job: the same for all attempts."""
        return job_id(self.launch)


class HeldLaunches:
    """Reads what one claimant holds. Not thread-safe; every method raises pymongo's errors."""

    def __init__(self, launchpad: Any, claimant: Claimant) -> None:
        self._launchpad = launchpad
        self._claimant = claimant

    def ids(self) -> list[int]:
        """All launches of this pool that are RESERVED or RUNNING."""
        mine = [
            {"launch_dir": self._claimant.launch_dir},
            {
                f"state_history.{NOTE}.prefix": self._claimant.prefix,
                f"state_history.{NOTE}.pool": self._claimant.pool,
            },
        ]
        query = {"state": {"$in": list(ACTIVE)}, "$or": mine}
        found = self._launchpad.launches.find(query, {"_id": 0, "launch_id": 1})
        return [int(launch["launch_id"]) for launch in found]

    def load(self, launch_ids: Sequence[int]) -> list[Claim]:
        """Those of the named launches that are RESERVED or RUNNING, with their Fireworks."""
        if not launch_ids:
            return []
        query = {"launch_id": {"$in": list(launch_ids)}, "state": {"$in": list(ACTIVE)}}
        return self._with_fireworks(list(self._launchpad.launches.find(query, {"_id": 0})))

    def is_waiting(self, launch_id: int) -> bool:
        """Whether this launch and its Firework are RESERVED."""
        launch = {"launch_id": launch_id, "state": "RESERVED"}
        firework = {"launches": launch_id, "state": "RESERVED"}
        return (
            self._launchpad.launches.find_one(launch) is not None
            and self._launchpad.fireworks.find_one(firework) is not None
        )

    def drop_stray(self, claim: Claim) -> None:
        """Delete a launch that was reserved but never came to be its Firework's."""
        self._launchpad.launches.delete_one(
            {"launch_id": claim.launch_id, "state": "RESERVED", "action": None}
        )

    def _with_fireworks(self, launches: list[dict[str, Any]]) -> list[Claim]:
        query = {"fw_id": {"$in": [launch["fw_id"] for launch in launches]}}
        found = {fw["fw_id"]: fw for fw in self._launchpad.fireworks.find(query, {"_id": 0})}
        claims = []
        for launch in launches:
            firework = found.get(launch["fw_id"])
            has_it = firework is not None and launch["launch_id"] in firework["launches"]
            claims.append(Claim(launch=launch, firework=firework if has_it else None))
        return claims


def attempt_to_publish(claim: Claim) -> int:
    """The attempt that a claim found after a restart is (to be) published as."""
    return attempt_of(claim.launch)


def needs_publishing(claim: Claim) -> bool:
    """Whether a crash came between claiming and recording that the message was published."""
    return claim.launch["state"] == "RESERVED" and not is_published(claim.launch)
