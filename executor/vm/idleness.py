"""Whether an executor has had nothing to do for so long that it should go: a pure judgement."""

from __future__ import annotations

from dataclasses import dataclass

from messaging.wire import PoolState

#: Seconds without a job after which one that was told ``quit=when-idle`` goes. Between two jobs
#: there are always some tenths of a second.
WHEN_IDLE_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class IdleLimits:
    """Seconds to idle; 0 is for ever."""

    #: When nothing is READY, and nothing waits to become so.
    rockets: float
    #: When something still waits for others to end; never less than `rockets`.
    waiters: float

    @property
    def are_none(self) -> bool:
        """Whether idleness never ends the executor."""
        return not self.rockets and not self.waiters


def reason_to_go(
    idle: float, pool: PoolState | None, limits: IdleLimits, *, when_idle: bool
) -> str | None:
    """Why an executor should go, or None.

    `idle` is for how many seconds it has held no job, nor the pool had anything READY; `pool` the
    dispatcher's last word, None if that is old. Then nobody knows what is to come: it is waited for
    as if something were.
    """
    if when_idle and idle >= min(WHEN_IDLE_SECONDS, limits.rockets or WHEN_IDLE_SECONDS):
        return "quit=when-idle"
    if pool is not None and not pool.waiting:
        return _over(idle, limits.rockets, "nothing READY")
    what = "the dispatcher is silent" if pool is None else f"{pool.waiting} only waiting"
    longest = max(limits.rockets, limits.waiters) if limits.waiters else 0.0
    return _over(idle, longest, f"nothing READY, {what}")


def _over(idle: float, limit: float, what: str) -> str | None:
    return f"idle for {limit:g} s: {what}" if limit and idle >= limit else None
