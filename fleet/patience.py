"""Trying again what failed for a moment: too many requests, a server's error, no way there."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from fleet.errors import is_passing
from messaging.errors import ServiceError

T = TypeVar("T")

#: Between attempts, seconds.
_PAUSES = (0.3, 1.0, 2.0, 4.0)


def patiently(call: Callable[[], T]) -> T:
    """`call`, some times if need be: it must be one that may be repeated. Raises its last error."""
    for pause in _PAUSES:
        try:
            return call()
        except Exception as exc:
            if not (is_passing(exc) or isinstance(exc, ServiceError)):
                raise
        time.sleep(pause)
    return call()
