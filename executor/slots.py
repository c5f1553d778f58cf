"""All slots of an executor."""

from __future__ import annotations

import time
from collections.abc import Sequence

from executor.slot import Slot


def start_slots(slots: Sequence[Slot]) -> None:
    """Start them."""
    for slot in slots:
        slot.start()


def end_slots(slots: Sequence[Slot], timeout: float) -> None:
    """End those that pause or wait, and wait for all for `timeout` seconds. Idempotent."""
    for slot in slots:
        slot.end()
    deadline = time.monotonic() + timeout
    for slot in slots:
        slot.join(max(0.1, deadline - time.monotonic()))
