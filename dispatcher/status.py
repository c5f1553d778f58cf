"""How a LaunchPad's dispatchers and executors are, read from the LaunchPad alone."""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterable, Mapping
from typing import Any

from dispatcher.executors import COLLECTION as EXECUTORS
from dispatcher.executors import PATIENCE
from dispatcher.launch_documents import ACTIVE, NOTE, is_published, note_of
from dispatcher.launchpad import where
from dispatcher.processes import is_gone, this_process
from dispatcher.roster import COLLECTION as DISPATCHERS
from dispatcher.roster import STALE_SECONDS

#: Errors shown, the newest of all dispatchers.
_ERRORS = 10


class Colleagues:
    """The dispatchers on a LaunchPad's rosters, seen from outside. Raises pymongo's errors."""

    def __init__(self, launchpad: Any) -> None:
        self._collection = launchpad.db[DISPATCHERS]
        self.now = server_time(launchpad)
        self._here = this_process()

    def members(self, prefix: str | None = None) -> list[dict[str, Any]]:
        """All members, with `alive`, `silent` (seconds) and `keeps_house`."""
        found = list(self._collection.find({}))
        keepers = {each["instance"] for each in found if each["_id"] == each.get("owner")}
        members = [each for each in found if each["_id"] != each.get("owner") and "owner" in each]
        return [
            {
                **member,
                "silent": self._silent(member),
                "alive": self._is_alive(member),
                "keeps_house": member["instance"] in keepers,
            }
            for member in members
            if prefix is None or _prefix(member["owner"]) == prefix
        ]

    def living(self) -> set[str]:
        """The marks (owner and instance) of those that live."""
        return {each["_id"] for each in self.members() if each["alive"]}

    def _silent(self, member: Mapping[str, Any]) -> float | None:
        return seconds_since(member.get("seen"), self.now)

    def _is_alive(self, member: Mapping[str, Any]) -> bool:
        silent = self._silent(member)
        if silent is None:  # it has joined, and not beaten yet
            return not is_gone(member, self._here)
        return silent <= STALE_SECONDS and not is_gone(member, self._here)


def collect(launchpad: Any, prefix: str, pool: str | None = None) -> dict[str, Any]:
    """The state of one installation (`pool`: of one pool only), JSON types; pymongo's errors."""
    colleagues = Colleagues(launchpad)
    members = [each for each in colleagues.members(prefix) if pool in (None, _pool(each["owner"]))]
    return {
        "launchpad": where(launchpad),
        "prefix": prefix,
        "fireworks": _fireworks(launchpad),
        "pools": _pools(launchpad, prefix, pool, colleagues.now),
        "dispatchers": [_dispatcher(each) for each in members],
        "executors": _executors(launchpad, prefix, pool, colleagues.now),
        "last_errors": _errors(members),
    }


def server_time(launchpad: Any) -> datetime.datetime:
    """MongoDB's own time: clocks of other machines need not agree."""
    now: datetime.datetime = launchpad.db.command("hello")["localTime"]
    return now


def seconds_since(moment: datetime.datetime | None, now: datetime.datetime) -> float | None:
    """Seconds between two of MongoDB's times; None when the first is not known."""
    return None if moment is None else round(max(0.0, (now - moment).total_seconds()), 1)


def _fireworks(launchpad: Any) -> dict[str, int]:
    counts = launchpad.fireworks.aggregate([{"$group": {"_id": "$state", "count": {"$sum": 1}}}])
    return {each["_id"]: each["count"] for each in sorted(counts, key=lambda each: each["_id"])}


def _pools(
    launchpad: Any, prefix: str, pool: str | None, now: datetime.datetime
) -> dict[str, dict[str, Any]]:
    """What is in flight, by pool."""
    query: dict[str, Any] = {
        "state": {"$in": list(ACTIVE)},
        f"state_history.{NOTE}.prefix": prefix,
    }
    if pool is not None:
        query[f"state_history.{NOTE}.pool"] = pool
    pools: dict[str, dict[str, Any]] = {}
    for launch in launchpad.launches.find(query, {"state": 1, "state_history": 1}):
        nothing = {"reserved": 0, "running": 0, "unpublished": 0, "oldest_claim": None}
        counts = pools.setdefault(str(note_of(launch)["pool"]), dict(nothing))
        counts[launch["state"].lower()] += 1
        counts["unpublished"] += not is_published(launch)
        age = _age(launch["state_history"][0].get("created_on"), now)
        counts["oldest_claim"] = max(age, counts["oldest_claim"] or 0.0)
    return dict(sorted(pools.items()))


def _age(created_on: object, now: datetime.datetime) -> float:
    """Seconds since a time of FireWorks', which is UTC."""
    try:
        moment = datetime.datetime.fromisoformat(str(created_on))
    except ValueError:
        return 0.0
    return seconds_since(moment.replace(tzinfo=None), now) or 0.0


def _dispatcher(member: Mapping[str, Any]) -> dict[str, Any]:
    report = dict(member.get("report") or {})
    report.pop("errors", None)
    report.pop("time", None)
    return {
        "instance": member["instance"],
        "pool": _pool(member["owner"]),
        "host": member.get("host"),
        "pid": member.get("pid"),
        "alive": member["alive"],
        "keeps_house": member["keeps_house"],
        "silent": member["silent"],
        "up": round(time.time() - float(member["started"]), 1) if member["alive"] else None,
        **report,
    }


def _executors(
    launchpad: Any, prefix: str, pool: str | None, now: datetime.datetime
) -> list[dict[str, Any]]:
    query = {"prefix": prefix} if pool is None else {"prefix": prefix, "pool": pool}
    shown = ("executor", "pool", "host", "slots", "busy")
    executors = []
    for each in launchpad.db[EXECUTORS].find(query).sort("_id", 1):
        silent = seconds_since(each.get("heard"), now)
        alive = silent is not None and silent < PATIENCE * each["heartbeat"]
        executors.append({**{word: each[word] for word in shown}, "alive": alive, "silent": silent})
    return executors


def _errors(members: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    errors = [
        {"time": error["time"], "dispatcher": member["instance"], "text": error["text"]}
        for member in members
        for error in (member.get("report") or {}).get("errors", [])
    ]
    return sorted(errors, key=lambda error: error["time"])[-_ERRORS:]


def _prefix(owner: str) -> str:
    return owner.split("/")[1] if owner.count("/") >= 2 else owner


def _pool(owner: str) -> str:
    return owner.rsplit("/", 1)[-1]
