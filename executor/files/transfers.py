"""The transfer process of an executor: all its jobs' files go through it.

It is forked from the fork server, like a slot's child: client libraries never run in the daemon,
whose gRPC they must not share, and all slots share one pool of threads and the input cache. It
starts when it is first asked for, and again when it is asked for after its death.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import threading
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from executor.files.transfer_process import TransferOptions, transfer_main
from executor.nursery import Nursery
from executor.settings import ExecutorSettings
from storage_backends.errors import StorageTransientError
from storage_backends.places.choice import Defaults, default_place
from storage_backends.service.client import RemoteBackend

log = logging.getLogger(__name__)

#: Seconds for the process to listen.
_START_SECONDS = 20.0
#: Seconds for it to answer when it is asked whether it works.
_ANSWER_SECONDS = 10.0
#: Seconds for it to end by itself.
_END_SECONDS = 5.0
#: Directory in the workdir that holds the input caches of the executors there.
_CACHE = ".portfire-cache"
#: Bytes of the longest address of a UNIX socket, its NUL included, are 108 on Linux.
_LONGEST_DIRECTORY = 80


class Transfers:
    """The executor's end of its transfer process. Thread-safe."""

    def __init__(
        self,
        nursery: Nursery,
        settings: ExecutorSettings,
        workdir: Path,
        patience: float = _ANSWER_SECONDS,
    ) -> None:
        """A process that does not answer within `patience` seconds is killed."""
        self._nursery = nursery
        self._patience = patience
        self._options = TransferOptions(
            threads=settings.transfer_threads,
            cache_directory=workdir / _CACHE,
            cache_bytes=round(settings.cache_gb * 1e9),
        )
        self._defaults = Defaults(settings.storage, settings.storage_options)
        self._lock = threading.Lock()  # guards all below; held while the process starts
        #: Where the socket is: another for each process, so that nobody reaches one that is dead.
        self._directory: Path | None = None
        self._process: ForkServerProcess | None = None
        self._pipe: Connection | None = None
        self._stopped = False

    @property
    def pid(self) -> int | None:
        """The process id; None where none was started, or it was ended."""
        return self._process.pid if self._process else None

    def address(self) -> str:
        """The address of its socket; starts it if it does not run, and anew if it hangs.

        Raises StorageTransientError when the system has no room for it.
        """
        with self._lock:
            if not self._works():
                self._start()
            return f"{self._directory}/socket"

    def check(self) -> None:
        """Open the storage of the jobs that name none, if the settings say which.

        Raises UsageError for a wrong name or option, or a package that it needs and is not here.
        """
        place = default_place(self._defaults, os.environ)
        if place is not None:
            RemoteBackend(self.address, place.backend, place.options).close()

    def stop(self) -> None:
        """Stop what is under way and end the process. Idempotent."""
        with self._lock:
            self._stopped = True
            self._end()

    def _works(self) -> bool:
        if self._process is None or self._pipe is None or not self._process.is_alive():
            return False
        try:
            self._pipe.send(None)
            if self._pipe.poll(self._patience):
                self._pipe.recv()
                return True
            log.error("the transfer process hangs, and is killed")
        except (OSError, EOFError):
            pass  # it is dying
        self._process.kill()
        self._process.join(_END_SECONDS)
        return False

    def _start(self) -> None:
        if self._stopped:
            raise StorageTransientError("the executor stops, and transfers nothing any more")
        if self._process is not None:
            log.error("the transfer process died (exit code %s)", self._process.exitcode)
            self._end()
        try:
            self._directory = _socket_directory()
            self._process, self._pipe = self._nursery.start_process(
                "portfire-transfers", transfer_main, f"{self._directory}/socket", self._options
            )
            _await_start(self._pipe)
        except (OSError, EOFError) as exc:
            self._end()
            raise StorageTransientError(f"the transfer process cannot be started: {exc}") from exc

    def _end(self) -> None:
        pipe, process, directory = self._pipe, self._process, self._directory
        self._pipe = self._process = self._directory = None
        if pipe is not None:
            pipe.close()
        if process is not None:
            process.join(_END_SECONDS)
            if process.exitcode is None:
                process.kill()
                process.join(_END_SECONDS)
        if directory is not None:
            shutil.rmtree(directory, ignore_errors=True)


def _await_start(pipe: Connection) -> None:
    if not pipe.poll(_START_SECONDS):
        raise OSError(f"it did not listen within {_START_SECONDS:.0f} s")
    if problem := pipe.recv():
        raise OSError(problem)


def _socket_directory() -> Path:
    """A new directory that only this user may enter, with a short path."""
    directory = tempfile.mkdtemp(prefix="portfire-")
    if len(os.fsencode(directory)) > _LONGEST_DIRECTORY:
        Path(directory).rmdir()
        directory = tempfile.mkdtemp(prefix="portfire-", dir="/tmp")
    return Path(directory)
