"""Runs a server for a test session and ends it when the session ends, also by SIGKILL.

    python guard.py OWNER_PID GRACE_SECONDS -- PROGRAM ARGUMENTS...

The guard starts PROGRAM and waits for the first of three things: the program ends (the guard ends
with its exit code), the owner process ends, or the guard gets SIGTERM. In the last two cases the
program gets SIGTERM, and SIGKILL after the grace. If the guard itself is killed, the kernel kills
the program. The owner need not be the guard's parent: with pytest-xdist a server is started by
whichever worker needs it first, and belongs to the controller, which outlives them all.

Standard library only: it is run by path, without the project's packages.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

_PR_SET_PDEATHSIG = 1


def guarded(
    argv: Sequence[str], *, owner: int, log: Path, grace: float = 10.0
) -> subprocess.Popen[bytes]:
    """Start `argv` under a guard; `terminate()` of the result ends it politely, `kill()` at once.

    Output goes to the file `log`. `owner` is the pid whose end ends the server.
    """
    guard = [sys.executable, "-I", "-S", __file__, str(owner), str(grace), "--", *argv]
    with log.open("ab") as output:
        # A session of its own: Ctrl-C at the terminal is for pytest, which then ends the server.
        return subprocess.Popen(
            guard,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def end(pid: int, timeout: float) -> bool:
    """Ask the guard `pid` to end its server and wait for both; False if they still run then."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        signal.pidfd_send_signal(handle, signal.SIGTERM)
        return bool(select.select([handle], [], [], timeout)[0])
    except ProcessLookupError:
        return True
    finally:
        os.close(handle)


def main(arguments: Sequence[str]) -> NoReturn:
    """The guard process itself."""
    owner, grace, argv = int(arguments[0]), float(arguments[1]), list(arguments[3:])
    asked, ask = os.pipe()
    signal.signal(signal.SIGTERM, lambda *_: os.write(ask, b"x"))
    try:
        owner_handle = os.pidfd_open(owner)
    except ProcessLookupError:
        sys.exit(0)  # the session ended before its server began
    # Safe here, where there is one thread: the program dies with the guard.
    program = subprocess.Popen(argv, preexec_fn=_die_with_parent)
    program_handle = os.pidfd_open(program.pid)
    ready, _, _ = select.select([asked, owner_handle, program_handle], [], [])
    if program_handle not in ready:
        program.terminate()
        try:
            program.wait(grace)
        except subprocess.TimeoutExpired:
            program.kill()
    sys.exit(program.wait())


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1:])
