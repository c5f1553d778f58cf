"""How fast one system ran one shape, and how that is printed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Rate:
    """One run of one system."""

    system: str
    shape: str
    #: Tasks that were run: of a fan, its root and its join too.
    tasks: int
    #: From the command to its end, start-up and end included; for running daemons, from the moment
    #: at which the jobs are there to the completion of the last one.
    command_seconds: float
    #: From the start of the first task to the end of the last one.
    steady_seconds: float
    #: Median seconds from a parent's end to its child's start, of a chain, where it is known.
    gap_seconds: float | None = None

    @property
    def steady(self) -> float:
        """Tasks per second from the first start to the last end."""
        return self.tasks / self.steady_seconds


@dataclass(frozen=True, kw_only=True)
class Absent:
    """A system that was not measured, and why."""

    system: str
    shape: str
    reason: str


#: Above the lines of `text`.
HEAD = (
    f"{'shape':8}{'system':26}{'tasks':>8}{'command s':>11}{'jobs/s':>9}"
    f"{'steady jobs/s':>15}{'gap ms':>8}"
)


def text(row: Rate | Absent) -> str:
    """One line for people."""
    if isinstance(row, Absent):
        return f"{row.shape:8}{row.system:26}  {row.reason}"
    gap = "" if row.gap_seconds is None else f"{row.gap_seconds * 1e3:8.1f}"
    return (
        f"{row.shape:8}{row.system:26}{row.tasks:8}{row.command_seconds:11.2f}"
        f"{row.tasks / row.command_seconds:9.1f}{row.steady:15.1f}{gap}"
    )
