"""What a dispatcher has done so far."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Counts:
    """Counts of one dispatcher. Changed by its thread only; others may read."""

    claimed: int = 0
    completed: int = 0
    fizzled: int = 0
    cancelled: int = 0
    #: Updates that came second, or of an older attempt.
    stale: int = 0
    #: Updates of launches that are unknown, not wanted or over, or of a superseded attempt.
    unwanted: int = 0
    #: Updates that could not be read.
    unreadable: int = 0
    #: Launches published again: lost with a broker, or paused and resumed.
    republished: int = 0
