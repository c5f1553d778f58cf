"""Launch documents as FireWorks writes them, with the few notes that Portfire leaves in them.

The note stands in the RESERVED entry of ``state_history``, which FireWorks carries along as it is:
``{"portfire": {"prefix": ..., "pool": ..., "attempt": 1, "dispatcher": ..., "losses": 0}}`` (the
last two: which instance looks after it, and `Roster`'s count when its message was published), once
published also ``published``, in seconds since the epoch. Until an executor names the real launch
directory, ``launch_dir`` says whose the reservation is, so that a reservation whose note was never
written can be found as well.
"""

from __future__ import annotations

import datetime
import time
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fireworks.core.firework import Tracker

from messaging.failures import failure_action
from messaging.wire import Finished, Started

ACTIVE = ("RESERVED", "RUNNING")
NOTE = "portfire"
#: In a note: how often the launch was published again because nothing was heard of it.
SILENCES = "silences"


@dataclass(kw_only=True)
class Claimant:
    """Who claims: one dispatcher of a prefix and pool. Not thread-safe."""

    prefix: str
    pool: str
    #: Which of their dispatchers.
    dispatcher: str = ""
    #: How often Pub/Sub has lost its state, as far as this one knows.
    losses: int = 0

    @property
    def launch_dir(self) -> str:
        """What stands as launch directory while the job waits for an executor."""
        return f"(waiting in {self.prefix}/{self.pool})"

    def note(self, attempt: int) -> dict[str, Any]:
        """The note in a RESERVED entry."""
        return {
            "prefix": self.prefix,
            "pool": self.pool,
            "attempt": attempt,
            "dispatcher": self.dispatcher,
            "losses": self.losses,
        }


def reserved_launch(
    claimant: Claimant,
    launch_id: int,
    firework: Mapping[str, Any],
    fworker: Mapping[str, Any],
    host: str,
    ip: str,
) -> dict[str, Any]:
    """The document of a new launch of `firework`, RESERVED, attempt 1.

    `fworker` is as of its ``to_dict``.
    """
    now = _moment(time.time())
    note = claimant.note(attempt=1)
    entry = {"state": "RESERVED", "created_on": now, "updated_on": now, NOTE: note}
    return {
        "fworker": fworker,
        "fw_id": firework["fw_id"],
        "launch_dir": claimant.launch_dir,
        "host": host,
        "ip": ip,
        "trackers": _trackers(firework["spec"].get("_trackers")),
        "action": None,
        "state": "RESERVED",
        "state_history": [entry],
        "launch_id": launch_id,
        "time_start": None,
        "time_end": None,
        "runtime_secs": None,
    }


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


def note_of(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The note in a launch's document; empty when there is none."""
    for entry in document.get("state_history", []):
        if NOTE in entry:
            note: Mapping[str, Any] = entry[NOTE]
            return note
    return {}


def noted_place(document: Mapping[str, Any]) -> str:
    """The field of a launch's document whose value is, or shall be, the entry with the note."""
    states = [entry["state"] for entry in document["state_history"]]
    return f"state_history.{states.index('RESERVED') if 'RESERVED' in states else 0}"


def noted(
    document: Mapping[str, Any], claimant: Claimant, attempt: int, message_id: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What must hold of the stored launch, and the fields to set, to note a published attempt.

    Field by field: an executor may have begun meanwhile, and another dispatcher may have written
    that down. A newer attempt is left alone.
    """
    place = noted_place(document)
    where = {
        "launch_id": document["launch_id"],
        "state": {"$in": list(ACTIVE)},
        f"{place}.{NOTE}.attempt": {"$not": {"$gt": attempt}},
    }
    kept = {word: note for word, note in note_of(document).items() if word == SILENCES}
    note = {**kept, **claimant.note(attempt), "published": time.time()}
    return where, {f"{place}.{NOTE}": note, f"{place}.reservation_id": message_id}


def started_launch(document: Mapping[str, Any], update: Started | Finished) -> dict[str, Any]:
    """The document of a RESERVED launch after it began to run where `update` says."""
    began = update.started if isinstance(update, Finished) else update.timestamp
    return _timed(
        {
            **document,
            "host": update.host,
            "ip": update.ip,
            "launch_dir": update.launch_dir,
            "action": None,
            "state": "RUNNING",
            "state_history": _entered(document["state_history"], "RUNNING", _moment(began)),
        }
    )


def finished_launch(document: Mapping[str, Any], update: Finished) -> dict[str, Any]:
    """The document of an active launch after it ended as `update` says."""
    running = started_launch(document, update)
    history, ended = running["state_history"], _moment(update.timestamp)
    history[-1]["updated_on"] = ended
    if update.checkpoint:
        history[-1]["checkpoint"] = update.checkpoint
    trackers = running["trackers"] if update.trackers is None else update.trackers
    return _timed(
        {
            **running,
            "trackers": trackers,
            "action": update.action,
            "state": update.state,
            "state_history": _entered(history, update.state, ended),
        }
    )


def fizzled_launch(document: Mapping[str, Any], stacktrace: str) -> dict[str, Any]:
    """A COMPLETED launch turned FIZZLED: FireWorks could not apply its FWAction."""
    # Without checkpoints: FireWorks' Rocket sets the launch back to its start before it fails it.
    history = [
        {key: value for key, value in entry.items() if key != "checkpoint"}
        for entry in document["state_history"]
    ]
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


def _trackers(given: Any) -> list[dict[str, Any]]:
    """Only what FireWorks can read again: a launch document must never be beyond its reader."""
    return [
        Tracker.from_dict(dict(tracker)).to_dict()
        for tracker in (given if isinstance(given, list) else [])
        if isinstance(tracker, Mapping) and isinstance(tracker.get("filename"), str)
    ]


def _entered(history: Iterable[Mapping[str, Any]], state: str, now: str) -> list[dict[str, Any]]:
    """The history after the step to `state`, as FireWorks' Launch writes it; entries are copies."""
    entries = [dict(entry) for entry in history]
    last = entries[-1] if entries else {}
    if last.get("state") == state:
        return entries
    entry: dict[str, Any] = {"state": state, "created_on": now}
    if state != "COMPLETED" and last.get("checkpoint"):
        entry["checkpoint"] = last["checkpoint"]
    if state == "RUNNING":
        entry["updated_on"] = now
    return [*entries, entry]


def _timed(document: dict[str, Any]) -> dict[str, Any]:
    """The document with the times that FireWorks derives from its history."""
    times: dict[str, str] = {}
    for entry in document["state_history"]:
        kind = "end" if entry["state"] in ("COMPLETED", "FIZZLED") else entry["state"]
        times.setdefault(kind, entry["created_on"])
    start, end, reserved = times.get("RUNNING"), times.get("end"), times.get("RESERVED")
    document["time_start"], document["time_end"] = start, end
    document["runtime_secs"] = _seconds(start, end)
    document.pop("reservedtime_secs", None)
    if waited := _seconds(reserved, start):
        document["reservedtime_secs"] = waited
    return document


def _seconds(start: str | None, end: str | None) -> float | None:
    if not start or not end:
        return None
    return (_parsed(end) - _parsed(start)).total_seconds()


def _parsed(moment: str) -> datetime.datetime:
    parsed = datetime.datetime.fromisoformat(moment)
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=datetime.timezone.utc)


def now_as_text() -> str:
    """This moment as FireWorks stores it in Fireworks and launches (in workflows it is a date)."""
    return _moment(time.time())


def _moment(timestamp: float) -> str:
    """Seconds since the epoch as FireWorks stores them."""
    return datetime.datetime.fromtimestamp(timestamp, datetime.timezone.utc).isoformat()
