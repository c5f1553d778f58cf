"""Figures of the storage benchmark beside their goals, as a table, Markdown or JSON."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from benchmarks.measured import Cost


@dataclass(frozen=True, slots=True)
class Goal:
    """How fast a contender shall be beside the quickest of some others."""

    others: tuple[str, ...]
    #: At most so many times their time, or with `at_least`, at least so many times their speed.
    factor: float
    at_least: bool = False

    def judged(self, figure: float) -> str:
        """The figure beside the goal, in words."""
        what = "speed" if self.at_least else "time"
        who = " or ".join(self.others)
        wanted = f"{self.factor:g} or {'more' if self.at_least else 'less'}"
        missed = "" if self.is_met(figure) else ", MISSED"
        return f"{figure:.2f} times the {what} of {who} (goal: {wanted}{missed})"

    def figure(self, seconds: float, of_others: Sequence[float]) -> float:
        """What is compared with `factor`."""
        best = min(of_others)
        return best / seconds if self.at_least else seconds / best

    def is_met(self, figure: float) -> bool:
        """Whether it is as wanted."""
        return figure >= self.factor if self.at_least else figure <= self.factor


@dataclass(frozen=True, slots=True)
class Row:
    """The medians of one contender in one case."""

    case: str
    contender: str
    files: int
    seconds: float
    #: CPU seconds of the measured process, and of the server meanwhile (0 where there is none).
    cpu: float
    server_cpu: float
    #: Peak resident bytes above the start.
    memory: float
    #: What its goal is about, whether that is met, and both in words; nothing without a goal.
    figure: float | None = None
    met: bool | None = None
    verdict: str = ""

    @property
    def cells(self) -> list[str]:
        """As text: time, CPU, CPU of the server, memory, comparison."""
        cpu, server = self.cpu / self.files * 1e3, self.server_cpu / self.files * 1e3
        unit = "ms/file" if self.files > 1 else "ms"
        return [
            self.contender,
            f"{self.seconds:.3f} s",
            f"{cpu:.2f} {unit}" if self.files > 1 else f"{cpu:.0f} {unit}",
            "" if not server else f"{server:.2f}" if self.files > 1 else f"{server:.0f}",
            f"{self.memory / 1e6:.0f} MB",
            self.verdict,
        ]


HEADINGS = ("", "time", "CPU", "server's CPU", "memory", "beside its goal")


def median_rows(
    case: str,
    files: int,
    costs: dict[str, list[tuple[Cost, float]]],
    goals: Mapping[str, Goal],
) -> list[Row]:
    """The rows of one case from each contender's costs, with the server's CPU seconds."""
    rows = {
        name: Row(
            case=case,
            contender=name,
            files=files,
            seconds=statistics.median(cost.seconds for cost, _ in each),
            cpu=statistics.median(cost.cpu for cost, _ in each),
            server_cpu=statistics.median(server for _, server in each),
            memory=statistics.median(cost.memory for cost, _ in each),
        )
        for name, each in costs.items()
    }
    for name, goal in goals.items():
        figure = goal.figure(rows[name].seconds, [rows[other].seconds for other in goal.others])
        rows[name] = replace(
            rows[name], figure=figure, met=goal.is_met(figure), verdict=goal.judged(figure)
        )
    return list(rows.values())


def text(rows: Sequence[Row]) -> str:
    """For a terminal, case by case."""
    lines = []
    for case in dict.fromkeys(row.case for row in rows):
        lines += ["", case]
        lines.append(_columns(HEADINGS))
        lines += [_columns(row.cells) for row in rows if row.case == case]
    return "\n".join(lines[1:])


def markdown(rows: Sequence[Row]) -> str:
    """For the docs: one table, in which a case's name stands beside its first contender."""
    lines = [_cells(["", *HEADINGS]), _cells(["---"] * (len(HEADINGS) + 1))]
    before = ""
    for row in rows:
        lines.append(_cells([row.case if row.case != before else "", *row.cells]))
        before = row.case
    return "\n".join(lines)


def _columns(cells: Sequence[str]) -> str:
    name, *figures, verdict = cells
    return f"  {name:30}" + "".join(f"{figure:>15}" for figure in figures) + f"   {verdict}"


def _cells(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
