"""Numbers as people read them."""

from __future__ import annotations

#: Where nothing is known.
UNKNOWN = "-"
_STEPS = ("B", "kB", "MB", "GB", "TB", "PB")


def size(count: float | None) -> str:
    """Bytes in powers of 1,000: ``1.5 GB``; a dash when unknown."""
    if count is None:
        return UNKNOWN
    for step in _STEPS[:-1]:
        if abs(count) < 999.5:
            return f"{count:.0f} {step}" if step == "B" else f"{count:.3g} {step}"
        count /= 1000
    return f"{count:,.3g} {_STEPS[-1]}"


def duration(seconds: float | None) -> str:
    """``0.42 s``, ``12.3 s``, ``4 min 05 s``, ``2 h 03 min``; a dash when unknown."""
    if seconds is None:
        return UNKNOWN
    seconds = max(0.0, seconds)
    if seconds < 59.95:
        return f"{seconds:.2f} s" if seconds < 9.995 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"
