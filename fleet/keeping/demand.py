"""How much there is to do, by the LaunchPad: only ever read here."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from typing import Any

from dispatcher.launchpad import database_errors
from fleet.keeping.sight import Demand

#: What may yet make a WAITING Firework READY.
_MOVING = ["READY", "RESERVED", "RUNNING"]
_ENDED = ("COMPLETED", "FIZZLED", "DEFUSED")
#: From so many launches, the last ones, a job's length is told.
_LAUNCHES = 200


class LaunchPadDemand:
    """Counts the Fireworks of one pool. Not thread-safe."""

    def __init__(self, launchpad: Any, fworker: Any) -> None:
        """`fworker` is the pool's: its category and query say which Fireworks are."""
        self._launchpad = launchpad
        self._query = fworker.query
        self._worker = {"fworker.name": fworker.name}

    def look(self) -> Demand:
        """What there is to do now; raises ServiceError, UsageError."""
        with database_errors("count Fireworks"):
            grouped = self._launchpad.fireworks.aggregate(
                [{"$match": self._query}, {"$sortByCount": "$state"}]
            )
            counts = {group["_id"]: int(group["count"]) for group in grouped}
            waiting = counts.get("WAITING", 0)
            return Demand(
                ready=counts.get("READY", 0),
                reserved=counts.get("RESERVED", 0),
                running=counts.get("RUNNING", 0),
                waiting=waiting if waiting and self._moves() else 0,
                ended=sum(counts.get(state, 0) for state in _ENDED),
                job_seconds=self._job_seconds(),
            )

    def _moves(self) -> bool:
        """Whether anything goes on: what waits for a FIZZLED parent waits for ever."""
        moving = {"state": {"$in": _MOVING}}
        return self._launchpad.fireworks.find_one(moving, {"fw_id": 1}) is not None

    def _job_seconds(self) -> float | None:
        """The longer of two means: of those that ended last, and of those that run so far.

        Else a quick beginning would make long jobs look short until the first of them ends.
        """
        fields = {"runtime_secs": 1, "time_start": 1, "_id": 0}

        def last(state: str, by: str) -> list[dict[str, Any]]:
            query = {"state": state, **self._worker}
            found = self._launchpad.launches.find(query, fields)
            return list(found.sort(by, -1).limit(_LAUNCHES))

        now = datetime.datetime.now(datetime.timezone.utc)
        ended = [launch.get("runtime_secs") for launch in last("COMPLETED", "time_end")]
        running = [_age(launch.get("time_start"), now) for launch in last("RUNNING", "time_start")]
        means = [mean for mean in (_mean(ended), _mean(running)) if mean is not None]
        return max(means, default=None)


def _age(start: object, now: datetime.datetime) -> float | None:
    """Seconds since a time as FireWorks stores it; None if it stores none."""
    if isinstance(start, str):
        start = datetime.datetime.fromisoformat(start)
    if not isinstance(start, datetime.datetime):
        return None
    aware = start if start.tzinfo else start.replace(tzinfo=datetime.timezone.utc)
    return max((now - aware).total_seconds(), 0.0)


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
