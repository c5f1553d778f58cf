"""Ties the life of a process from the fork server to that of its executor."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from multiprocessing.connection import wait

_PR_SET_PDEATHSIG = 1


def tie_to_executor(on_death: Callable[[], None]) -> None:
    """Give this process a session of its own, and an end when its executor is dead.

    `on_death` is called then, in a thread; SIGTERM comes when the fork server goes.
    """
    os.setsid()
    with contextlib.suppress(AttributeError):  # Linux only; elsewhere the thread below must do
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    parent = multiprocessing.parent_process()
    assert parent is not None
    arguments = (parent.sentinel, on_death)
    threading.Thread(target=_watch, args=arguments, name="parent-watch", daemon=True).start()


def _watch(sentinel: int, on_death: Callable[[], None]) -> None:
    wait([sentinel])
    on_death()
