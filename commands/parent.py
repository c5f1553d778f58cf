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
    """With the flag: get SIGTERM when the process that started us ends, however it ends."""
    if args.stop_with_parent:
        parent = os.getppid()
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:
            # It ended before the kernel knew of our wish.
            os.kill(os.getpid(), signal.SIGTERM)
