"""What processes use, as Linux counts it: one reading of memory and of counters that only grow."""

from __future__ import annotations

import functools
import os
import resource
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import psutil

_NOTHING: Mapping[str, int] = MappingProxyType({})
_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")
#: Our names of the lines in ``/proc/<pid>/io``.
_IO_NAMES = {
    b"rchar:": "read",
    b"wchar:": "written",
    b"read_bytes:": "block_read",
    b"write_bytes:": "block_written",
}


@dataclass(frozen=True, slots=True)
class Usage:
    """One reading."""

    #: Of all processors together, since the processes or the container began.
    cpu_seconds: float = 0.0
    #: Bytes in memory now; 0 when that is not known.
    memory: int = 0
    #: Bytes by name since then: ``read``, ``written``, ``block_read``, ``block_written``,
    #: ``network_received``, ``network_sent``, as far as they are known.
    bytes: Mapping[str, int] = field(default_factory=lambda: _NOTHING)


def usage_of(pids: Iterable[int]) -> Usage:
    """Of these processes together, each with the children that it has waited for.

    Resident memory counts shared pages for each process. Those that are gone count nothing, zombies
    what they have used. Never raises.
    """
    seconds, memory, counted = 0.0, 0, dict.fromkeys(_IO_NAMES.values(), 0)
    for pid in pids:
        spent, resident = _stat(pid)
        seconds += spent
        memory += resident
        for name, count in _io(pid).items():
            counted[name] += count
    return Usage(seconds, memory, counted)


def own_usage() -> Usage:
    """Of this process and the children that it has waited for; it takes some microseconds.

    ``memory`` is the peak of either so far, not what is used now.
    """
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    seconds = sum(used.ru_utime + used.ru_stime for used in both)
    return Usage(seconds, max(used.ru_maxrss for used in both) << 10, _io(os.getpid()))


def descendants(pid: int) -> list[int]:
    """The children of a process, theirs, and so on; parents come before their children.

    A process that begins or ends meanwhile may be missed, or be in it: for measuring only.
    """
    if not _kernel_lists_children():
        try:
            return [child.pid for child in psutil.Process(pid).children(recursive=True)]
        except psutil.Error:
            return []
    found: list[int] = []
    open_ends = [pid]
    while open_ends:
        children = _children(open_ends.pop())
        found += children
        open_ends += children
    return found


@functools.cache
def _kernel_lists_children() -> bool:
    # Without it all processes of the machine must be looked at, in each slot every 2 seconds.
    return Path(f"/proc/self/task/{os.getpid()}/children").exists()


def _children(pid: int) -> list[int]:
    try:
        threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208 - a path object costs more than this
    except OSError:
        return []
    lists = (_read(f"/proc/{pid}/task/{thread}/children") for thread in threads)
    return [int(child) for listed in lists for child in listed.split()]


def _stat(pid: int) -> tuple[float, int]:
    """CPU seconds and resident bytes; zeros when it is gone."""
    text = _read(f"/proc/{pid}/stat")
    # The name in parentheses may have spaces and parentheses of its own.
    fields = text[text.rfind(b")") + 2 :].split()
    if len(fields) < 22:
        return 0.0, 0
    return sum(map(int, fields[11:15])) / _TICKS, int(fields[21]) * _PAGE


def _io(pid: int) -> dict[str, int]:
    """Bytes by our names; empty when it is gone, or another user's."""
    words = _read(f"/proc/{pid}/io").split()
    pairs = zip(words[::2], words[1::2], strict=False)
    return {_IO_NAMES[name]: int(count) for name, count in pairs if name in _IO_NAMES}


def _read(path: str) -> bytes:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(handle, 1 << 16)
    except OSError:  # it ended meanwhile
        return b""
    finally:
        os.close(handle)
