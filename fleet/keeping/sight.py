"""What is seen at one moment: the work that there is, and the VMs that are to do it."""

from __future__ import annotations

from dataclasses import dataclass

#: Compute Engine's names for a VM that works or is about to.
_LIVING = ("PENDING", "PROVISIONING", "STAGING", "RUNNING", "REPAIRING")
#: And for one that does nothing, and stays so: it costs its disk.
_STOPPED = ("TERMINATED", "STOPPED", "SUSPENDED")


@dataclass(frozen=True, kw_only=True)
class Demand:
    """Fireworks of one pool, by what they need of executors; numbers."""

    #: READY: nobody has claimed them.
    ready: int = 0
    #: RESERVED: on their way to an executor.
    reserved: int = 0
    running: int = 0
    #: Those that wait for others; none if nothing goes on that could make them READY.
    waiting: int = 0
    #: Those that have ended, whatever their end.
    ended: int = 0
    #: How long a job takes, by the last ones, in seconds; None if nobody knows.
    job_seconds: float | None = None

    @property
    def open(self) -> int:
        """Those for which there could be a slot now."""
        return self.ready + self.reserved + self.running

    @property
    def is_over(self) -> bool:
        """Whether nothing is to be done, nor ever will be as things stand."""
        return not self.open and not self.waiting

    def __str__(self) -> str:
        return (
            f"{self.ready} ready, {self.reserved + self.running} claimed, {self.waiting} waiting, "
            f"{self.ended} ended"
        )


@dataclass(frozen=True, kw_only=True)
class SeenVm:
    """A VM of the fleet."""

    name: str
    zone: str
    machine_type: str
    spot: bool
    #: As Compute Engine calls it.
    status: str
    #: Jobs that it runs at the same time.
    slots: int

    @property
    def lives(self) -> bool:
        """Whether it works, or is about to."""
        return self.status in _LIVING

    @property
    def is_stopped(self) -> bool:
        """Whether it does nothing any more, and is still there."""
        return self.status in _STOPPED


@dataclass(frozen=True, kw_only=True)
class Sight:
    """All that a decision is made from, beside what is remembered."""

    #: Seconds; any clock that only goes forward.
    now: float
    demand: Demand
    vms: tuple[SeenVm, ...]
    #: Zones of which the API could not tell now.
    unseen: frozenset[str] = frozenset()
