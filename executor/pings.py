"""The pings of a running launch, without a thread for each launch.

FireWorks' Rocket starts a thread that pings the LaunchPad once an hour. Starting and ending it
costs a short task dear, so in a slot's child the watching thread, which is there anyhow, does what
those would.
"""

from __future__ import annotations

import time
from typing import Any

from fireworks.core import rocket
from fireworks.fw_config import PING_TIME_SECS

from executor.watcher import watcher


def ping_without_threads() -> None:
    """From now on no Rocket of this process starts a thread to ping."""
    rocket.start_ping_launch = _start


def _start(launchpad: Any, launch_id: int) -> _PingedLaunch:
    """As FireWorks' `start_ping_launch`."""
    launch = _PingedLaunch(launchpad, launch_id)
    watcher.watch(launch)
    return launch


class _PingedLaunch:
    """A launch that runs; for the Rocket, the event that it sets when its tasks are done.

    A Rocket that is interrupted before may not come to that: but its process gets no other job.
    """

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
