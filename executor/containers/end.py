"""How a container ended: the facts, and the cause that follows from them.

An exit code alone says little: 137 is what a task returns that the kernel killed for its memory,
that we killed for its time, that an operator killed, or that chose to exit with 137. So the cause
comes from what we did, then from what the engine says, and both raw facts are kept beside it.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
from typing import Any, Literal

from executor.command import Ended, failure_reason

#: ``success``; ``exit``: the command returned another code; ``signal``: it died of one;
#: ``out-of-memory``; ``timeout``; ``killed``: somebody else told the engine to; ``not-started``.
Cause = Literal["success", "exit", "signal", "out-of-memory", "timeout", "killed", "not-started"]
_FIRST_SIGNAL = 128
#: A signal that the engine sent without saying which, as Podman does.
UNTOLD_SIGNAL = "unknown"
#: What the engine answers with when the command could not be run at all.
_NOT_STARTED = {126, 127, 128}


@dataclass(frozen=True, kw_only=True)
class ContainerEnded:
    """How a container ended."""

    exit_code: int
    #: Whether we stopped it because its time was over.
    timed_out: bool = False
    #: What the engine says. A child of the command that ran out of memory may not show here.
    oom_killed: bool = False
    #: Signals that others had the engine send.
    foreign_signals: tuple[str, ...] = ()
    #: The engine's own word on a failure to run it, or ``""``.
    error: str = ""
    #: ``seconds``, and what `executor.containers.stats` could see.
    metrics: dict[str, Any] = field(default_factory=dict)

    @property
    def cause(self) -> Cause:
        """Why it ended."""
        if self.timed_out:
            return "timeout"
        if self.exit_code == 0:
            return "success"
        if self.oom_killed:
            return "out-of-memory"
        if self.signal and {self.signal, UNTOLD_SIGNAL} & set(self.foreign_signals):
            return "killed"
        if self.error and self.exit_code in _NOT_STARTED:
            return "not-started"
        return "signal" if self.signal else "exit"

    @property
    def signal(self) -> str | None:
        """``SIGSEGV`` and the like, if the exit code is what a shell makes of a signal."""
        try:
            return signal.Signals(self.exit_code - _FIRST_SIGNAL).name
        except ValueError:
            return None

    @property
    def ended(self) -> Ended:
        """The same as of any program."""
        return Ended(exit_code=self.exit_code, timed_out=self.timed_out, metrics=self.metrics)

    def facts(self) -> dict[str, Any]:
        """For programs: the cause, and the raw facts behind it. JSON."""
        return {
            "cause": self.cause,
            "signal": self.signal,
            "oom_killed": self.oom_killed,
            "foreign_signals": list(self.foreign_signals),
            "engine_error": self.error,
        }

    def reason(self, program: str, *, timeout: float, memory: int | None) -> str | None:
        """One line that says how `program` failed and what to do; None for success."""
        if self.cause == "out-of-memory":
            limit = f" of {memory:,} bytes" if memory else ""
            return (
                f"{program} ran out of memory (exit code {self.exit_code}): its limit{limit} is "
                "too low"
            )
        if self.cause == "killed":
            return f"{program} was killed from outside ({self.signal}): somebody told the engine to"
        reason = failure_reason(self.ended, program, timeout)
        if reason and self.error:
            return f"{reason} ({' '.join(self.error.split())[:200]})"
        return reason
