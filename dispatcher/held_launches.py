"""The launches that a pool's dispatchers hold: RESERVED or RUNNING, as the LaunchPad has them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dispatcher.launch_documents import (
    ACTIVE,
    NOTE,
    SILENCES,
    Claimant,
    attempt_of,
    is_published,
    job_id,
    note_of,
    noted_place,
)

#: What a `Brief` needs.
_BRIEF = {
    "_id": 0,
    "launch_id": 1,
    "state": 1,
    "action.exit": 1,
    "state_history.state": 1,
    "state_history.updated_on": 1,
    "state_history.reservation_id": 1,
    f"state_history.{NOTE}": 1,
}


#: What a note goes on saying when another dispatcher takes the launch over.
_KEPT = ("losses", "published", SILENCES)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A launch of ours that is RESERVED or RUNNING, and what a job message needs of it."""

    launch: dict[str, Any]
    #: None when the Firework does not have this launch (any more).
    firework: dict[str, Any] | None
    #: Name of its workflow; empty for a claim that was taken over.
    workflow: str = ""

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

    @property
    def silences(self) -> int:
        """How often it was published again because nothing was heard of it."""
        return int(note_of(self.launch).get(SILENCES, 0))


@dataclass(frozen=True)
class Brief:
    """A launch in short."""

    document: Mapping[str, Any]

    @property
    def launch_id(self) -> int:
        """FireWorks' id of the launch."""
        return int(self.document["launch_id"])

    @property
    def state(self) -> str:
        """FireWorks' state of the launch."""
        return str(self.document["state"])

    @property
    def has_ended(self) -> bool:
        """Whether a result was applied to it: its executor knows that it is over."""
        return self.state not in ACTIVE and self.document.get("action") is not None

    @property
    def dispatcher(self) -> str:
        """The instance that looks after it; empty when nothing says which."""
        return str(note_of(self.document).get("dispatcher", ""))

    @property
    def losses(self) -> int:
        """`Roster`'s count when its message was published."""
        return int(note_of(self.document).get("losses", 0))

    @property
    def is_published(self) -> bool:
        """Whether its message is known to have reached Pub/Sub."""
        return is_published(self.document)

    @property
    def published(self) -> float | None:
        """When it was, in seconds since the epoch by its dispatcher's clock."""
        return note_of(self.document).get("published")

    @property
    def last_word(self) -> str | None:
        """When an executor last spoke of it, by that executor's clock; None while it waits."""
        if self.state != "RUNNING":
            return None
        return str(self.document["state_history"][-1].get("updated_on"))


class HeldLaunches:
    """Reads what one pool holds. Not thread-safe; every method raises pymongo's errors."""

    def __init__(self, launchpad: Any, claimant: Claimant) -> None:
        self._launchpad = launchpad
        self._claimant = claimant

    def all(self) -> list[Brief]:
        """All launches of this pool that are RESERVED or RUNNING, whoever claimed them."""
        mine = [
            {"launch_dir": self._claimant.launch_dir},
            {
                f"state_history.{NOTE}.prefix": self._claimant.prefix,
                f"state_history.{NOTE}.pool": self._claimant.pool,
            },
        ]
        query = {"state": {"$in": list(ACTIVE)}, "$or": mine}
        return [Brief(each) for each in self._launchpad.launches.find(query, _BRIEF)]

    def ids(self) -> list[int]:
        """The same, by FireWorks' ids."""
        return [brief.launch_id for brief in self.all()]

    def briefs(self, launch_ids: Collection[int]) -> list[Brief]:
        """These launches, in whatever state; without those that are deleted."""
        if not launch_ids:
            return []
        query = {"launch_id": {"$in": list(launch_ids)}}
        return [Brief(each) for each in self._launchpad.launches.find(query, _BRIEF)]

    def load(self, launch_ids: Sequence[int]) -> list[Claim]:
        """Those of the named launches that are RESERVED or RUNNING, with their Fireworks."""
        if not launch_ids:
            return []
        query = {"launch_id": {"$in": list(launch_ids)}, "state": {"$in": list(ACTIVE)}}
        return self._with_fireworks(list(self._launchpad.launches.find(query, {"_id": 0})))

    def take_over(self, claim: Claim, attempt: int, **notes: Any) -> Claim | None:
        """Make a launch this dispatcher's own, in this attempt, with further `notes`.

        None when somebody else has changed it since it was read.
        """
        launch, place = claim.launch, noted_place(claim.launch)
        kept = {word: note for word, note in note_of(launch).items() if word in _KEPT}
        fresh = {**self._claimant.note(attempt), **kept, **notes}
        history = [dict(entry) for entry in launch["state_history"]]
        where = {"launch_id": claim.launch_id, "state_history": launch["state_history"]}
        history[int(place.rsplit(".", 1)[1])][NOTE] = fresh
        change = {"$set": {f"{place}.{NOTE}": fresh}}
        if not self._launchpad.launches.update_one(where, change).matched_count:
            return None
        return replace(claim, launch={**launch, "state_history": history})

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
