"""Where slots get their child processes from, and the executor's side of one child."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import select
import signal
import sys
import threading
import types
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

import psutil

from executor.records import ChildOptions, Downward, Upward, unpacked

#: Name of the module that the fork server imports.
_PRELOAD = "executor.preload"
#: Environment variable that marks a child's processes; see executor.child.
_MARK = "PORTFIRE_CHILD"
#: Guards the swap of ``__main__`` below: a child starts seldom, and so one at a time.
_spawning = threading.Lock()


class Nursery:
    """Starts child processes from a fork server. Thread-safe.

    `start` must come before the first gRPC channel of this process: the fork server is started by
    exec, but the descriptors and threads of gRPC are nothing that anybody should inherit.
    """

    def __init__(self) -> None:
        self._context: ForkServerContext = multiprocessing.get_context("forkserver")

    def start(self) -> None:
        """Start the fork server, unless this process has one already."""
        with _spawning, _without_main(), _importable():
            self._context.set_forkserver_preload([_PRELOAD])
            forkserver.ensure_running()

    def spawn(self, options: ChildOptions) -> ChildHandle:
        """A new child; raises OSError when the system has no room for one."""
        mark = uuid.uuid4().hex
        process, pipe = self.start_process(
            f"portfire-slot-{options.thread}", _enter_child, options, mark
        )
        return ChildHandle(process, pipe, mark)

    def start_process(
        self, name: str, body: Callable[..., None], *arguments: Any
    ) -> tuple[ForkServerProcess, Connection]:
        """A process that runs `body`, given its end of a pipe and `arguments`; and our end of it.

        Raises OSError when the system has no room for one.
        """
        ours, theirs = self._context.Pipe()
        try:
            process = self._context.Process(target=body, args=(theirs, *arguments), name=name)
            with _spawning, _without_main():
                process.start()
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return process, ours


class ChildHandle:
    """The executor's end of one child process.

    One thread (the slot's) sends and receives; `interrupt` and `kill` may be called from any.
    """

    def __init__(self, process: ForkServerProcess, pipe: Connection, mark: str) -> None:
        self.jobs = 0
        self._records: deque[Upward] = deque()
        self._process = process
        self._pipe = pipe
        self._mark = mark
        assert process.pid is not None
        self.pid = process.pid
        self._readable = select.poll()
        self._readable.register(pipe.fileno(), select.POLLIN | select.POLLHUP)
        self._readable.register(process.sentinel, select.POLLIN | select.POLLHUP)

    def send(self, record: Downward) -> None:
        """Send a record; one to a dead child is lost, which `receive` will tell."""
        with contextlib.suppress(OSError):
            # Not `send`, whose pickler is for more than records and takes twice the time.
            self._pipe.send_bytes(pickle.dumps(record, pickle.HIGHEST_PROTOCOL))

    def receive(self) -> Upward | None:
        """Wait for the next record; None when the child is dead."""
        if not self._records:
            try:
                # A process that a job has forked may hold the pipe open: the sentinel tells then.
                ready = dict(self._readable.poll())
                if self._pipe.fileno() in ready or self._pipe.poll():
                    self._records.extend(unpacked(self._pipe.recv_bytes()))
            except (EOFError, OSError):
                pass
        return self._records.popleft() if self._records else None

    def interrupt(self) -> None:
        """Ask the running job to stop: SIGTERM, which raises JobInterrupted in it."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL the child and everything that descends from it."""
        family = _descendants(self.pid)
        self._signal(signal.SIGKILL)
        for process in [*family, *_marked(self._mark)]:
            with contextlib.suppress(psutil.Error):
                process.kill()

    def close(self) -> str:
        """Make an end of the child and say how it ended; one that crashed leaves nothing behind."""
        # An idle child ends when its pipe closes.
        self._pipe.close()
        self._process.join(2.0)
        if self._process.exitcode is None:
            self.kill()
            self._process.join(5.0)
        if self._process.exitcode != 0:
            for process in _marked(self._mark):
                with contextlib.suppress(psutil.Error):
                    process.kill()
        return _ending(self._process.exitcode)

    def _signal(self, number: signal.Signals) -> None:
        if self._process.exitcode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


def _enter_child(pipe: Connection, options: ChildOptions, mark: str) -> None:
    # Imported in the child only; in the executor it would load FireWorks.
    from executor.child import child_main

    child_main(pipe, options, mark)


def _ending(code: int | None) -> str:
    if code is None:
        return "cannot be killed"
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"was killed by {signal.Signals(-code).name}"
        return f"was killed by signal {-code}"
    return f"exited with {code}"


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []


def _marked(mark: str) -> list[psutil.Process]:
    """The processes that inherited `mark`, wherever in the tree they are now."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(_MARK) == mark:
                found.append(process)
    return found


@contextmanager
def _without_main() -> Iterator[None]:
    """Hide ``__main__`` while a process starts.

    multiprocessing would import the main script again in every child: slow for a command, and a
    script that runs an executor without an ``if __name__`` guard would run again.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextmanager
def _importable() -> Iterator[None]:
    """Let the fork server find our modules (and the user's) where this process finds them."""
    saved = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
    try:
        yield
    finally:
        if saved is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = saved
