"""The dispatchers that share a pool's work, and which of them keeps house.

All of them claim, publish and apply results at once. Each has a document in the LaunchPad's
database in which it counts up a ``beat``; the others watch it by their own clocks, so that clocks
need not agree. One whose beat stood still for `STALE_SECONDS`, or whose process is gone from the
same machine, is dead: the housekeeper strikes it off and takes over what it left. Striking off is
guarded by the beat on which it was decided; one that was only stopped (SIGSTOP, a sleeping laptop)
finds its document gone before its next turn, and must begin anew as another instance. What it still
writes meanwhile is refused: its locks have another holder, its launches another attempt.

The housekeeper's office is one document for each owner (prefix and pool). It also counts the times
that Pub/Sub lost its state: a launch notes the count at which its message was published, so that
whatever was published before the last loss is known to be in doubt, by whomever, after any crash.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pymongo
from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from dispatcher.launchpad import database_errors
from dispatcher.processes import is_gone, this_process
from messaging.errors import PortfireError

log = logging.getLogger(__name__)

COLLECTION = "portfire_dispatchers"
#: How often a member beats, and after how long without a beat it is dead.
BEAT_SECONDS = 5.0
STALE_SECONDS = 15.0
#: A member that has not beaten for so long must ask whether it is still one before it goes on.
_DOUBT_SECONDS = 8.0
#: How long leaving may take, in seconds: somebody waits for the end of this process.
_LEAVE_SECONDS = 2.0


class MembershipLostError(PortfireError):
    """This dispatcher was taken for dead and succeeded: it must begin anew."""


@dataclass(frozen=True, kw_only=True)
class Member:
    """A dispatcher as the others see it."""

    instance: str
    beat: int
    place: str


@dataclass(frozen=True, kw_only=True)
class Company:
    """Who was there at one look."""

    #: Instances, this one's included.
    living: frozenset[str]
    dead: tuple[Member, ...] = ()
    #: Whether this one is the housekeeper, and whether it has become so just now.
    keeps_house: bool = False
    is_new_in_office: bool = False
    #: How often Pub/Sub has lost its state.
    losses: int = 0


class Roster:
    """One dispatcher's place among those of its owner.

    `beat` may be called from any thread, all else from the dispatcher's. Methods raise pymongo's
    errors.
    """

    def __init__(self, launchpad: Any, owner: str, *, others_are_dead: bool = False) -> None:
        """`others_are_dead`: whoever else is found was killed, for certain."""
        self._collection = launchpad.db[COLLECTION]
        self._owner = owner
        self._others_are_dead = others_are_dead
        #: Which of the owner's dispatchers this is.
        self.instance = uuid.uuid4().hex
        self._id = f"{owner}/{self.instance}"
        self._here = this_process()
        #: Monotonic time of the last beat that was written.
        self._beaten = 0.0
        #: By instance: its beat as last seen, and since when it stands still.
        self._seen: dict[str, tuple[int, float]] = {}
        self._joined = False

    def join(self) -> None:
        """Become a member. Idempotent."""
        office = {"owner": self._owner, "instance": None, "losses": 0}
        about = {"owner": self._owner, "instance": self.instance, **self._here, "beat": 0}
        for document in ({"_id": self._owner, **office}, {"_id": self._id, **about}):
            try:
                self._collection.insert_one(document)
            except DuplicateKeyError:
                continue
        self._beaten = time.monotonic()
        self._joined = True

    def beat(self, report: Mapping[str, Any] | None = None) -> None:
        """Show that we are alive, and what there is to tell of us.

        Raises MembershipLostError when we were struck off.
        """
        began = time.monotonic()
        change: dict[str, Any] = {"$inc": {"beat": 1}, "$currentDate": {"seen": True}}
        if report is not None:
            change["$set"] = {"report": dict(report)}
        if not self._collection.update_one({"_id": self._id}, change).matched_count:
            raise MembershipLostError(
                f"another dispatcher has taken over the work of this one, which was silent for "
                f"{STALE_SECONDS:g} s or more"
            )
        self._beaten = began

    def check(self) -> None:
        """Make sure that nobody has taken us for dead; raises MembershipLostError.

        Asks the database only after a silence, such as that of a stopped process.
        """
        if self._joined and time.monotonic() - self._beaten > _DOUBT_SECONDS:
            self.beat()

    def look(self) -> Company:
        """Who is there now; takes the housekeeper's office if that is vacant."""
        found = list(self._collection.find({"owner": self._owner}))
        office = next((each for each in found if each["_id"] == self._owner), None)
        living, dead = {self.instance}, []
        now = time.monotonic()
        for each in found:
            if each is office or each["instance"] == self.instance:
                continue
            if self._is_dead(each, now):
                place = f"process {each.get('pid')} on {each.get('host')}"
                dead.append(Member(instance=each["instance"], beat=each["beat"], place=place))
            else:
                living.add(each["instance"])
        if office is None:
            # Somebody dropped the collection: our next beat tells us.
            return Company(living=frozenset(living))
        keeper, taken = office["instance"], False
        if keeper not in living:
            where = {"_id": self._owner, "instance": keeper}
            change = {"$set": {"instance": self.instance}}
            taken = bool(self._collection.update_one(where, change).matched_count)
        return Company(
            living=frozenset(living),
            dead=tuple(dead),
            keeps_house=taken or keeper == self.instance,
            is_new_in_office=taken,
            losses=int(office["losses"]),
        )

    def strike_off(self, member: Member) -> bool:
        """Declare a member dead, unless it has beaten since it was looked at."""
        where = {"_id": f"{self._owner}/{member.instance}", "beat": member.beat}
        return bool(self._collection.delete_one(where).deleted_count)

    def note_loss(self) -> int:
        """Pub/Sub has lost its state; how often that has happened by now."""
        office = self._collection.find_one_and_update(
            {"_id": self._owner}, {"$inc": {"losses": 1}}, return_document=ReturnDocument.AFTER
        )
        return int(office["losses"]) if office is not None else 1

    def leave(self) -> None:
        """Be a member no longer, so that others take over at once; never raises."""
        try:
            with pymongo.timeout(_LEAVE_SECONDS), database_errors("leave"):
                mine = {"_id": self._owner, "instance": self.instance}
                self._collection.update_one(mine, {"$set": {"instance": None}})
                self._collection.delete_one({"_id": self._id})
        except PortfireError as exc:
            log.debug("%s", exc)

    def _is_dead(self, member: Mapping[str, Any], now: float) -> bool:
        if self._others_are_dead or is_gone(member, self._here):
            return True
        beat = int(member["beat"])
        seen = self._seen.get(member["instance"])
        if seen is None or seen[0] != beat:
            self._seen[member["instance"]] = (beat, now)
            return False
        return now - seen[1] > STALE_SECONDS
