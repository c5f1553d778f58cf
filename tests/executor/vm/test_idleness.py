"""When an executor that has nothing to do should go."""

from __future__ import annotations

import pytest

from executor.vm.idleness import IdleLimits, reason_to_go
from messaging.wire import PoolState

LIMITS = IdleLimits(rockets=900.0, waiters=3600.0)
NEVER = IdleLimits(rockets=0.0, waiters=0.0)


def pool(waiting: int = 0, ready: int = 0) -> PoolState:
    return PoolState(pool="default", ready=ready, waiting=waiting, in_flight=0)


@pytest.mark.parametrize(
    ("idle", "state", "limits", "when_idle", "reason"),
    [
        (899.0, pool(), LIMITS, False, None),
        (900.0, pool(), LIMITS, False, "idle for 900 s: nothing READY"),
        (3599.0, pool(waiting=3), LIMITS, False, None),
        (3600.0, pool(waiting=3), LIMITS, False, "idle for 3600 s: nothing READY, 3 only waiting"),
        (3599.0, None, LIMITS, False, None),
        (3600.0, None, LIMITS, False, "idle for 3600 s: nothing READY, the dispatcher is silent"),
        (1e6, pool(), NEVER, False, None),
        (1e6, None, NEVER, False, None),
        (1e6, pool(), IdleLimits(rockets=0.0, waiters=60.0), False, None),
        (1e6, pool(waiting=1), IdleLimits(rockets=60.0, waiters=0.0), False, None),
        # As in Borealis: who waits for waiters waits no less than for rockets.
        (60.0, pool(waiting=1), IdleLimits(rockets=90.0, waiters=30.0), False, None),
        (4.9, pool(waiting=1), LIMITS, True, None),
        (5.0, pool(waiting=1), LIMITS, True, "quit=when-idle"),
        (5.0, None, NEVER, True, "quit=when-idle"),
    ],
)
def test_the_judgement(
    idle: float, state: PoolState | None, limits: IdleLimits, when_idle: bool, reason: str | None
) -> None:
    assert reason_to_go(idle, state, limits, when_idle=when_idle) == reason
