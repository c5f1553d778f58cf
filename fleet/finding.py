"""What `portfire gce doctor` found out about one part of an installation."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the diagnosis."""

    #: What was looked at.
    subject: str
    #: ``skipped``: there was nothing to look at.
    state: Literal["ok", "problem", "skipped"]
    text: str
    #: The command that mends it, if there is one.
    mend: str = ""

    def to_dict(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)

    def __str__(self) -> str:
        """For people: one line."""
        mend = f": run `{self.mend}`" if self.mend else ""
        return f"{self.state}: {self.subject}: {self.text}{mend}"


def ok(subject: str, text: str) -> Finding:
    """It is as it should be."""
    return Finding(subject=subject, state="ok", text=text)


def problem(subject: str, text: str, mend: str = "") -> Finding:
    """It is not."""
    return Finding(subject=subject, state="problem", text=text, mend=mend)


def skipped(subject: str, text: str) -> Finding:
    """It was not looked at."""
    return Finding(subject=subject, state="skipped", text=text)
