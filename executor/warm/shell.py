"""The conversation with a shell that runs one job after the other in a kept container.

The container's program is ``sh IN``, where IN is a named pipe of ours in a directory that is
mounted: so a job costs one line to the shell, and no request to the engine. Two more pipes come
back: what the shell says, and what the jobs print. The shell opens all three once, then their names
are removed; a job inherits the last one only, as its standard output and error. So no job can read
the next one's command, or say how it ended in the shell's place, unless it goes out of its way.

Output comes through a pipe rather than straight to a file, because a program that opens
/dev/stderr for writing would cut a file short.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import select
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO

from executor.containers.output import Listener

#: Where the pipes' directory is mounted in the container.
PIPES = "/portfire-warm"
#: The container's program.
PROGRAM = ("sh", f"{PIPES}/in")

_BLOCK = 1 << 20
_LONGEST_POLL = 3600.0
#: The shell outlives what a job sends to its process group; the job itself gets these as usual.
_TRAPS = "trap : HUP INT QUIT PIPE ALRM TERM USR1 USR2"
# Our variables must not be met in the environment: they would be passed on in place of those.
_OOM_COUNTS = ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control")
_FIND_COUNT = "; ".join(
    ["portfire_m=/dev/null", *(f"[ -r {path} ] && portfire_m={path}" for path in _OOM_COUNTS)]
)
# Says the CPU times (the second line is of ended children), then what is in a Report.
_SAY = (
    "portfire_say() { portfire_w=$1 portfire_n=0; "
    "while read -r portfire_k portfire_v; do "
    '[ "$portfire_k" = oom_kill ] && portfire_n=$portfire_v; done <$portfire_m; '
    "set -- /proc/[0-9]*; times >&3; "
    'echo "$portfire_w $portfire_s $# $$ $portfire_n" >&3; }'
)
_SAID = r"(?m)^\S+ \S+\n(\d+)m([\d.,]+)s (\d+)m([\d.,]+)s\n{nonce} (\d+) (\d+) (\d+) (\d+)\n"
_GREETING = (
    f"exec 3>{PIPES}/said 4>{PIPES}/printed; {_TRAPS}; {_FIND_COUNT}; {_SAY}; "
    "portfire_s=0; portfire_say %s\n"
)
# What a job leaves is killed before its end is reported. The shell ends with a job that failed, so
# that the engine's word on the container is one on the job.
_JOB = (
    "echo {nonce} began >&3; "
    "(cd {cwd} && unset PWD OLDPWD SHLVL && {exports}exec {words}) </dev/null >&4 2>&4 3>&- 4>&-; "
    "portfire_s=$?; kill -9 -1 2>/dev/null; portfire_say {nonce}; "
    "[ $portfire_s = 0 ] || exit $portfire_s\n"
)


class ShellGoneError(Exception):
    """The shell has ended, and so has its container, or will in a moment."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What the shell says after a job."""

    #: The job's exit code; 128 and the signal's number, if it died of one.
    status: int
    #: How many processes there are in the container.
    processes: int
    #: The shell's own process id in the container.
    pid: int
    #: How often the kernel killed a process in it for want of memory, if it tells.
    out_of_memory: int
    #: CPU seconds of all that it waited for since its start.
    cpu_seconds: float


class JobOutput:
    """Where the output of one job goes."""

    def __init__(self, file: BinaryIO, listen: Listener | None) -> None:
        self._file = file
        self._listen = listen

    def take(self, block: memoryview) -> None:
        """Write it, and tell the listener; both streams are told as the first one."""
        self._file.write(block)
        if self._listen is not None:
            self._listen(1, bytes(block))


class Shell:
    """Our end of the conversation. For one thread."""

    def __init__(self, directory: Path) -> None:
        """Make the pipes in `directory`, which exists and is to be mounted at `PIPES`."""
        self._directory = directory
        for name in ("in", "said", "printed"):
            os.mkfifo(directory / name)
            (directory / name).chmod(0o666)  # the container's user may be any; the way here is ours
        # Open for both ways where the other end comes later, or comes and goes.
        self._in = os.open(directory / "in", os.O_RDWR | os.O_NONBLOCK)
        self._said = os.open(directory / "said", os.O_RDONLY | os.O_NONBLOCK)
        self._printed = os.open(directory / "printed", os.O_RDWR | os.O_NONBLOCK)
        with contextlib.suppress(OSError):  # a larger one spares turns, where the user may have it
            fcntl.fcntl(self._printed, fcntl.F_SETPIPE_SZ, _BLOCK)
        self._words, self._all = select.poll(), select.poll()
        for poll in (self._words, self._all):
            poll.register(self._said, select.POLLIN)
        self._all.register(self._printed, select.POLLIN)
        self._heard = ""
        self._buffer = memoryview(bytearray(_BLOCK))
        self._nonce = secrets.token_hex(8)
        os.write(self._in, (_GREETING % self._nonce).encode())

    def greeted(self, deadline: float) -> Report | None:
        """The shell's first words; None while there are none by `deadline`.

        Raises ShellGoneError.
        """
        report = self.report(deadline, None)
        if report is not None:
            own, self._in = self._in, os.open(self._directory / "in", os.O_WRONLY | os.O_NONBLOCK)
            os.close(own)  # from now on, a shell that is gone is told by the pipe
            for path in self._directory.iterdir():
                path.unlink()
        return report

    @property
    def alive(self) -> bool:
        """Whether the shell still holds its end. At once."""
        return not any(told & select.POLLHUP for _, told in self._words.poll(0))

    def begin(
        self,
        words: Sequence[str],
        cwd: str,
        deadline: float,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> bool:
        """Have it run a program in a directory; whether it has begun by `deadline`.

        `environment` is for this one, its names such as a shell takes.

        Raises ShellGoneError; then it has not.
        """
        self._nonce, self._heard = secrets.token_hex(8), ""
        exports = (f"export {name}={shlex.quote(value)} && " for name, value in environment.items())
        line = _JOB.format(
            nonce=self._nonce,
            cwd=shlex.quote(cwd),
            exports="".join(exports),
            words=shlex.join(words),
        )
        if not self._write(os.fsencode(line), deadline):
            return False
        # Not told to the job's output: what is printed so early waits in the pipe.
        return self._listen_for(rf"(?m)^{self._nonce} began\n", deadline, None) is not None

    def report(self, deadline: float, output: JobOutput | None) -> Report | None:
        """The end of what was begun last; None if it has not come by `deadline`.

        All that the job printed is in `output` then. Raises ShellGoneError.
        """
        said = self._listen_for(_SAID.format(nonce=self._nonce), deadline, output)
        if said is None:
            return None
        *times, status, processes, pid, out_of_memory = said.groups()
        return Report(
            status=int(status),
            processes=int(processes),
            pid=int(pid),
            out_of_memory=int(out_of_memory),
            cpu_seconds=_seconds(*times[:2]) + _seconds(*times[2:]),
        )

    def report_again(self, deadline: float, output: JobOutput) -> Report | None:
        """`report`, as of now, from a shell that has reported."""
        self._write(f"portfire_say {self._nonce}\n".encode(), deadline)
        return self.report(deadline, output)

    def gone(self, deadline: float) -> bool:
        """Whether it has ended by `deadline`; waits for that."""
        try:
            while self._words.poll(_milliseconds(deadline)):
                self._read_said()
        except ShellGoneError:
            return True
        return False

    def drain(self, output: JobOutput) -> None:
        """Take the output that is there: no more than the pipe holds, and that is one block."""
        with contextlib.suppress(BlockingIOError):
            output.take(self._buffer[: os.readv(self._printed, [self._buffer])])

    def close(self) -> None:
        """Let go of it: a shell that lives ends when it has nothing to do. Idempotent."""
        ends, self._in, self._said, self._printed = (
            (self._in, self._said, self._printed),
            -1,
            -1,
            -1,
        )
        for end in ends:
            if end >= 0:
                os.close(end)

    def _write(self, data: bytes, deadline: float) -> bool:
        writable = select.poll()
        writable.register(self._in, select.POLLOUT)
        left = memoryview(data)
        while left:
            try:
                left = left[os.write(self._in, left) :]
            except BlockingIOError:
                if not writable.poll(_milliseconds(deadline)):
                    return False
            except BrokenPipeError as exc:
                raise ShellGoneError from exc
        return True

    def _listen_for(
        self, pattern: str, deadline: float, output: JobOutput | None
    ) -> re.Match[str] | None:
        """What it says that matches; without `output`, what is printed is left where it is."""
        while not (found := re.search(pattern, self._heard)):
            poll = self._words if output is None else self._all
            ready = dict(poll.poll(_milliseconds(deadline)))
            if output is not None and self._printed in ready:
                self.drain(output)
            if self._said in ready:
                self._read_said()
            elif time.monotonic() >= deadline:
                return None
        self._heard = self._heard[found.end() :]
        if output is not None:
            self.drain(output)
        return found

    def _read_said(self) -> None:
        with contextlib.suppress(BlockingIOError):
            block = os.read(self._said, _BLOCK)
            if not block:
                raise ShellGoneError
            self._heard += block.decode("ascii", "replace")


def _seconds(minutes: str, seconds: str) -> float:
    return 60.0 * int(minutes) + float(seconds.replace(",", "."))


def _milliseconds(deadline: float) -> float:
    """For one poll, which takes no number of them that is over 24 days."""
    return min(max(0.0, deadline - time.monotonic()), _LONGEST_POLL) * 1000
