"""Launch documents as FireWorks writes them, with the few notes that Portfire leaves in them.

The note stands in the RESERVED entry of ``state_history``, which FireWorks carries along as it is:
``{"portfire": {"prefix": ..., "pool": ..., "attempt": 1}}``. Until an executor names the real
launch directory, ``launch_dir`` says whose the reservation is, so that a reservation whose note was
never written can be found as well.
"""

from __future__ import annotations

import datetime
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fireworks import Launch

from dispatcher.opaque import opaque
from messaging.failures import failure_action
from messaging.wire import Finished, Started

ACTIVE = ("RESERVED", "RUNNING")
NOTE = "portfire"


@dataclass(frozen=True, kw_only=True)
class Claimant:
    """Who claims: one dispatcher's prefix and pool."""

    prefix: str
    pool: str

    @property
    def launch_dir(self) -> str:
        """What stands as launch directory while the job waits for an executor."""
        return f"(waiting in {self.prefix}/{self.pool})"

    def note(self, attempt: int) -> dict[str, Any]:
        """The note in a RESERVED entry."""
        return {"prefix": self.prefix, "pool": self.pool, "attempt": attempt}


def reserved_launch(
    claimant: Claimant,
    launch_id: int,
    firework: Mapping[str, Any],
    fworker: Any,
    host: str,
    ip: str,
) -> dict[str, Any]:
    """The document of a new launch of `firework`, RESERVED, attempt 1."""
    launch = Launch(
        "RESERVED",
        claimant.launch_dir,
        fworker,
        host,
        ip,
        launch_id=launch_id,
        fw_id=firework["fw_id"],
    )
    document: dict[str, Any] = launch.to_db_dict()
    trackers = firework["spec"].get("_trackers")
    # Only what FireWorks can read again: a launch document must never be beyond its reader.
    document["trackers"] = [
        dict(tracker)
        for tracker in (trackers if isinstance(trackers, list) else [])
        if isinstance(tracker, Mapping) and isinstance(tracker.get("filename"), str)
    ]
    document["state_history"][-1][NOTE] = claimant.note(attempt=1)
    return document


def job_id(document: Mapping[str, Any]) -> str:
    """Correlation id of a launch's job: the same for all its attempts.

    Its last part is of the moment of the claim: after `lpad reset` FireWorks counts from 1 again,
    and what is still on its way from before must not be taken for the new launches.
    """
    claimed = str(document["state_history"][0].get("created_on", ""))
    mark = zlib.crc32(claimed.encode()) & 0xFFFFFF
    return f"fw{document['fw_id']}-l{document['launch_id']}-{mark:06x}"


def attempt_of(document: Mapping[str, Any]) -> int:
    """The current attempt of a launch; 1 when no note says otherwise."""
    for entry in document.get("state_history", []):
        if NOTE in entry:
            return int(entry[NOTE]["attempt"])
    return 1


def is_published(document: Mapping[str, Any]) -> bool:
    """Whether the launch's job message is known to have reached Pub/Sub."""
    return any("reservation_id" in entry for entry in document.get("state_history", []))


def noted(
    document: Mapping[str, Any], claimant: Claimant, attempt: int, message_id: str
) -> list[dict[str, Any]]:
    """The state history with the note of a published attempt."""
    history = [dict(entry) for entry in document["state_history"]]
    for entry in history:
        if entry["state"] == "RESERVED":
            entry[NOTE] = claimant.note(attempt)
            entry["reservation_id"] = message_id
            break
    return history


def started_launch(document: Mapping[str, Any], update: Started | Finished) -> dict[str, Any]:
    """The document of a RESERVED launch after it began to run where `update` says."""
    launch = Launch.from_dict(opaque({**document, "action": None}))
    began = update.started if isinstance(update, Finished) else update.timestamp
    _enter(launch, "RUNNING", began)
    launch.host, launch.ip, launch.launch_dir = update.host, update.ip, update.launch_dir
    running: dict[str, Any] = launch.to_db_dict()
    return running


def finished_launch(document: Mapping[str, Any], update: Finished) -> dict[str, Any]:
    """The document of an active launch after it ended as `update` says."""
    launch = Launch.from_dict(opaque(started_launch(document, update)))
    launch.touch_history(_moment(update.timestamp), checkpoint=update.checkpoint)
    _enter(launch, update.state, update.timestamp)
    finished: dict[str, Any] = launch.to_db_dict()
    finished["action"] = update.action
    if update.trackers is not None:
        finished["trackers"] = update.trackers
    return finished


def fizzled_launch(document: Mapping[str, Any], stacktrace: str) -> dict[str, Any]:
    """A COMPLETED launch turned FIZZLED: FireWorks could not apply its FWAction."""
    history = [dict(entry) for entry in document["state_history"]]
    history[-1]["state"] = "FIZZLED"
    return {
        **document,
        "state": "FIZZLED",
        "state_history": history,
        "action": failure_action("runtime error during task", stacktrace),
    }


def unstarted_history(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The state history of a launch that was given back: as if it had not been started."""
    return [dict(entry) for entry in document["state_history"] if entry["state"] == "RESERVED"]


def _enter(launch: Any, state: str, timestamp: float) -> None:
    """Change the state, at the executor's time rather than at ours."""
    if launch.state == state:
        return
    launch.state = state
    entry = launch.state_history[-1]
    entry["created_on"] = _moment(timestamp)
    if "updated_on" in entry:
        entry["updated_on"] = _moment(timestamp)


def _moment(timestamp: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(timestamp, datetime.timezone.utc)
