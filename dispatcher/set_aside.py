"""Fireworks and workflows that are left alone for a while, so that they hold up nobody else."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

log = logging.getLogger(__name__)

#: How long a workflow that somebody else has locked is left alone before it is tried again.
BUSY_SECONDS = 2.0
#: One that was not looked at for so long may have been unlocked and locked again meanwhile.
_FORGET_SECONDS = 30.0


class SetAside:
    """Fireworks that cannot be claimed now; each is tried again after `seconds`."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until: dict[int, float] = {}

    def add(self, fw_id: int) -> None:
        """Leave it alone from now on."""
        self._until[fw_id] = time.monotonic() + self._seconds

    @property
    def fw_ids(self) -> set[int]:
        """Those that must be left alone now."""
        now = time.monotonic()
        self._until = {fw_id: until for fw_id, until in self._until.items() if until > now}
        return set(self._until)


@dataclass
class _Locked:
    """A workflow that was locked by somebody else when last looked at. Times are monotonic."""

    fw_ids: frozenset[int]
    since: float
    until: float
    told: bool = False


class BusyWorkflows:
    """Workflows that somebody else had locked when we last looked. Not thread-safe.

    An lpad command holds a lock for milliseconds, a killed one for ever: the first kind is worth
    waiting for, the second must not be waited for again and again.
    """

    def __init__(self) -> None:
        self._locked: dict[Any, _Locked] = {}

    def note(self, workflow_id: Any, fw_ids: Iterable[int]) -> None:
        """Somebody else has it locked; told of when that was so `BUSY_SECONDS` ago as well."""
        now = time.monotonic()
        self._locked = {
            key: entry for key, entry in self._locked.items() if entry.until + _FORGET_SECONDS > now
        }
        entry = self._locked.setdefault(workflow_id, _Locked(frozenset(), now, now))
        entry.fw_ids, entry.until = frozenset(fw_ids), now + BUSY_SECONDS
        if not entry.told and now - entry.since >= BUSY_SECONDS:
            entry.told = True
            fw_id = min(entry.fw_ids)
            log.warning(
                "the workflow of Firework %d is locked; if no lpad command is at work: "
                "lpad admin unlock -i %d",
                fw_id,
                fw_id,
            )

    def forget(self, workflow_id: Any) -> None:
        """It is locked no longer, or gone."""
        self._locked.pop(workflow_id, None)

    def clear(self) -> None:
        """Forget all."""
        self._locked.clear()

    def is_busy(self, fw_id: int) -> bool:
        """Whether the Firework's workflow must be left alone now."""
        now = time.monotonic()
        return any(entry.until > now and fw_id in entry.fw_ids for entry in self._locked.values())

    def was_busy(self, workflow_id: Any) -> bool:
        """Whether it was busy already, so that waiting for it is in vain."""
        entry = self._locked.get(workflow_id)
        return entry is not None and entry.until + _FORGET_SECONDS > time.monotonic()

    @property
    def fw_ids(self) -> set[int]:
        """All Fireworks of workflows that must be left alone now."""
        now = time.monotonic()
        left_alone = [entry.fw_ids for entry in self._locked.values() if entry.until > now]
        return set().union(*left_alone)
