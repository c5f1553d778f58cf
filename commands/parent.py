"""For processes that another `portfire` started: they must not outlive it."""

from __future__ import annotations

import argparse
import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1


def add_parent_flag(parser: argparse.ArgumentParser) -> None:
    """A flag that only `portfire run` gives to its children; not shown in --help."""
    parser.add_argument("--stop-with-parent", action="store_true", help=argparse.SUPPRESS)


def obey_parent_flag(args: argparse.Namespace) -> None:
    """With the flag: be killed when the process that started us ends, however it ends.

    Killed, not asked to stop: broker, executor and dispatcher of a run die together, and none of
    them has anybody left to report to.
    """
    if args.stop_with_parent:
        parent = os.getppid()
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            # It ended before the kernel knew of our wish.
            os.kill(os.getpid(), signal.SIGKILL)
