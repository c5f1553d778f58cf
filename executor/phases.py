"""Telling of the phases of a job: both ends of each, also of one that fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from executor.failures import Phase, one_line, phase_error
from messaging.errors import PortfireError

#: Given ``stage-in.started`` or the like and the event's fields; must not raise.
Tell = Callable[[str, dict[str, Any]], None]


@contextmanager
def told_phase(
    phase: Phase, tell: Tell, about: Mapping[str, Any] | None = None
) -> Iterator[dict[str, Any]]:
    """Tell when `phase` starts and ends; yields the fields of its end, to be filled.

    The end has its seconds as ``time``, and an ``error`` if it failed. What goes wrong inside is
    raised as a PhaseError.
    """
    started = time.monotonic()
    fields = dict(about or {})
    tell(f"{phase}.started", dict(fields))
    try:
        yield fields
    except (PortfireError, OSError) as exc:
        error = phase_error(phase, exc)
        fields["error"] = error.reason
        raise error from exc
    except BaseException as exc:
        fields["error"] = one_line(exc)
        raise
    finally:
        tell(f"{phase}.finished", {"time": time.monotonic() - started, **fields})
