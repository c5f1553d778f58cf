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
#: The first pause of what cannot be claimed (FireWorks adds a Firework a moment before its
#: workflow), and the one from which on that is worth telling.
_FIRST_SECONDS = 0.03
_LASTING_SECONDS = 0.2
#: One that was not looked at for so long may have been unlocked and locked again meanwhile.
_FORGET_SECONDS = 30.0


class SetAside:
    """Fireworks that cannot be claimed now; each is tried again soon, then ever later."""

    def __init__(self, seconds: float) -> None:
        """`seconds`: the longest that one is left alone."""
        self._seconds = seconds
        #: By Firework: until when it is left alone (monotonic), and for how long that is.
        self._pauses: dict[int, tuple[float, float]] = {}

    def add(self, fw_id: int) -> bool:
        """Leave it alone from now on; whether that was so a few times already."""
        _, last = self._pauses.get(fw_id, (0.0, _FIRST_SECONDS / 2))
        pause = min(2 * last, self._seconds)
        self._pauses[fw_id] = (time.monotonic() + pause, pause)
        return pause >= min(_LASTING_SECONDS, self._seconds)

    @property
    def fw_ids(self) -> set[int]:
        """Those that must be left alone now."""
        now = time.monotonic()
        self._pauses = {
            fw_id: (until, pause)
            for fw_id, (until, pause) in self._pauses.items()
            if until + self._seconds > now
        }
        return {fw_id for fw_id, (until, _) in self._pauses.items() if until > now}


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
            log.warning(
                "the workflow of Firework %d is locked; if no lpad command is at work: "
                "`portfire dispatcher repair`",
                min(entry.fw_ids),
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

    def locked_for(self, seconds: float) -> list[Any]:
        """Workflows that have been found locked whenever they were wanted, for so long."""
        now = time.monotonic()
        return [
            key
            for key, entry in self._locked.items()
            if now - entry.since >= seconds and entry.until + _FORGET_SECONDS > now
        ]

    @property
    def fw_ids(self) -> set[int]:
        """All Fireworks of workflows that must be left alone now."""
        now = time.monotonic()
        left_alone = [entry.fw_ids for entry in self._locked.values() if entry.until > now]
        return set().union(*left_alone)
