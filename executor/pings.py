"""The pings of a running launch, without a thread for each launch.

FireWorks' Rocket starts a thread that pings the LaunchPad once an hour. Starting and ending it
costs as much as all else that a Rocket does for a short task (0.4 CPU milliseconds of 0.9), so in a
slot's child the watching thread, which is there anyhow, does what those would.
"""

from __future__ import annotations

import time
from typing import Any

from fireworks.core import rocket
from fireworks.fw_config import PING_TIME_SECS

from executor.watcher import watcher

_launches: list[_PingedLaunch] = []


def ping_without_threads() -> None:
    """From now on no Rocket of this process starts a thread to ping."""
    rocket.start_ping_launch = _start


def end_pings() -> None:
    """Let go of launches whose Rockets were interrupted, and so did not."""
    while _launches:
        _launches[-1].set()


def _start(launchpad: Any, launch_id: int) -> _PingedLaunch:
    """As FireWorks' `start_ping_launch`."""
    launch = _PingedLaunch(launchpad, launch_id)
    _launches.append(launch)
    watcher.watch(launch)
    return launch


class _PingedLaunch:
    """A launch that runs; for the Rocket, the event that it sets when its tasks are done."""

    def __init__(self, launchpad: Any, launch_id: int) -> None:
        self._launchpad = launchpad
        self._launch_id = launch_id
        self.due = time.monotonic() + PING_TIME_SECS

    def look(self) -> None:
        """Ping."""
        self.due = time.monotonic() + PING_TIME_SECS
        self._launchpad.ping_launch(self._launch_id)

    def set(self) -> None:
        """No more pings."""
        watcher.let_go(self)
        if self in _launches:
            _launches.remove(self)
