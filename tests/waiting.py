"""Bounded waiting on conditions: the only way in which tests wait."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

#: All bounds are so many times as long: for machines that are slow, or shared with others. It costs
#: time only where a test fails.
PATIENCE = float(os.environ.get("PORTFIRE_TEST_PATIENCE", "1"))


def wait_until(condition: Callable[[], T], timeout: float = 20.0, what: str = "condition") -> T:
    """Call `condition` until it answers something true, and return that.

    Raises AssertionError naming `what` after `timeout` seconds (times PATIENCE). Polls every 20 ms:
    the things waited for (another process's effect) have no event of ours to wait on.
    """
    timeout *= PATIENCE
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"timed out after {timeout} s waiting for {what}")
        time.sleep(0.02)
