"""A backend whose calls are carried out by the transfer process."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Client, Connection
from pathlib import Path
from typing import Any, NoReturn

from storage_backends.contract import Entry, StorageBackend, Transfer, Upload
from storage_backends.errors import StorageTransientError
from storage_backends.pool import TransferPool
from storage_backends.service.records import (
    Answer,
    Failure,
    FetchAll,
    ListEntries,
    Open,
    Progress,
    Remove,
    Request,
    StoreAll,
)
from storage_backends.watch import Watch

log = logging.getLogger(__name__)

#: Seconds between two looks at the watch while an answer is awaited.
_TICK = 0.25
#: Seconds for the server to end a transfer that was stopped.
_STOP_SECONDS = 5.0
#: Bytes read at a time of what nobody wants any more.
_UNREAD = 1 << 16
#: Seconds after which a server that says nothing hangs: it tells of progress once a second.
_SILENCE = 60.0
#: Pauses (seconds) between tries to reach a server: the new one after a death is soon there.
_CONNECT_PAUSES = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 0.0)


class _ServerGoneError(StorageTransientError):
    """The connection ended in the middle of a request, or the server says nothing any more."""


class RemoteBackend(StorageBackend):
    """The backend `name` with `options`, in the process that listens at `address()`.

    `address` is asked for each new connection, and may start that process; it may raise
    StorageTransientError. When the process ends in the middle of a call, or says nothing for
    `silence` seconds, the call is made once more on the process that follows it. Whoever leaves a
    call by an exception, also one that a signal raises, has stopped it: nothing appears afterwards
    unless it takes longer than a few seconds to end.
    """

    def __init__(
        self,
        address: Callable[[], str],
        name: str,
        options: Mapping[str, Any],
        silence: float = _SILENCE,
    ) -> None:
        """Connects; raises UsageError for a wrong name or option, StorageTransientError."""
        self._address = address
        self._silence = silence
        self._opening = Open(name, dict(options))
        #: Connections that no call uses now; append and pop are atomic.
        self._idle: list[Connection] = []
        self._idle.append(self._connect(Watch()))

    @classmethod
    def open(cls, options: dict[str, Any], pool: TransferPool) -> NoReturn:
        """Not by options: a RemoteBackend needs the address of a process."""
        raise NotImplementedError

    def fetch(
        self, name: str, target: Path, *, watch: Watch | None = None, read_only: bool = False
    ) -> Transfer:
        """See the contract."""
        return self.fetch_all({name: target}, watch=watch, read_only=read_only)[name]

    def store(
        self, source: Path, name: str, *, within: Path, watch: Watch | None = None
    ) -> Transfer:
        """See the contract."""
        return self.store_all([Upload(source, name, within)], watch=watch)[name]

    def fetch_all(
        self, wanted: Mapping[str, Path], *, watch: Watch | None = None, read_only: bool = False
    ) -> dict[str, Transfer]:
        """See the contract; all at once, on the threads of the other process."""
        targets = {name: target.absolute() for name, target in wanted.items()}
        fetched: dict[str, Transfer] = self._move(FetchAll(targets, read_only), watch)
        return fetched

    def store_all(
        self, uploads: Sequence[Upload], *, watch: Watch | None = None
    ) -> dict[str, Transfer]:
        """See the contract; all at once, on the threads of the other process."""
        absolute = tuple(
            Upload(upload.source.absolute(), upload.name, upload.within.absolute())
            for upload in uploads
        )
        stored: dict[str, Transfer] = self._move(StoreAll(absolute), watch)
        return stored

    def entries(self, name: str) -> list[Entry]:
        """See the contract."""
        entries: list[Entry] = self._call(ListEntries(name), Watch(), Watch())
        return entries

    def remove(self, name: str) -> None:
        """See the contract."""
        self._call(Remove(name), Watch(), Watch())

    def close(self) -> None:
        """Close the connections; a call under way keeps its own."""
        while self._idle:
            self._idle.pop().close()

    def _move(self, request: FetchAll | StoreAll, watch: Watch | None) -> Any:
        watch = watch or Watch()
        part = watch.part()
        moved = self._call(request, watch, part)
        part.moved(sum(transfer.bytes for transfer in moved.values()) - part.bytes)
        return moved

    def _call(self, request: Request, watch: Watch, part: Watch) -> Any:
        try:
            return self._attempt(request, watch, part)
        except _ServerGoneError as exc:
            log.warning("%s; trying once more on a new one", exc)
        # They died with it.
        self.close()
        part.forget()
        return self._attempt(request, watch, part)

    def _attempt(self, request: Request, watch: Watch, part: Watch) -> Any:
        watch.check()
        connection = self._idle.pop() if self._idle else self._connect(watch)
        try:
            connection.send(request)
            answer = self._answer(connection, watch, part)
        except (EOFError, OSError) as exc:
            connection.close()
            raise _ServerGoneError("the transfer process ended") from exc
        except _ServerGoneError:
            connection.close()
            raise
        except BaseException:
            _stop(connection)
            raise
        self._idle.append(connection)
        return _value(answer)

    def _connect(self, watch: Watch) -> Connection:
        for pause in _CONNECT_PAUSES:
            try:
                return self._open_connection(watch)
            except (EOFError, OSError) as exc:
                error = exc
            watch.pause(pause)
        raise StorageTransientError(f"the transfer process cannot be reached: {error}")

    def _open_connection(self, watch: Watch) -> Connection:
        connection = Client(self._address(), "AF_UNIX")
        try:
            connection.send(self._opening)
            _value(self._answer(connection, watch, Watch()))
        except BaseException:
            connection.close()
            raise
        return connection

    def _answer(self, connection: Connection, watch: Watch, part: Watch) -> Answer:
        """Wait for the answer, looking at `watch`; what moves is counted on its `part`."""
        while True:
            heard = time.monotonic()
            while not connection.poll(_TICK):
                watch.check()
                if time.monotonic() - heard > self._silence:
                    message = f"the transfer process has said nothing for {self._silence:.0f} s"
                    raise _ServerGoneError(message)
            record: Progress | Answer = connection.recv()
            if not isinstance(record, Progress):
                return record
            part.moved(record.bytes - part.bytes)
            watch.check()


def _value(answer: Answer) -> Any:
    if isinstance(answer, Failure):
        raise answer.error()
    return answer.value


def _stop(connection: Connection) -> None:
    """Have the server stop, and wait until it has: nothing shall appear afterwards.

    A signal may have come in the middle of a record, so none is sent or read: the server sees the
    end of what is sent here, and closes its own side when the request has ended.
    """
    try:
        with socket.socket(fileno=os.dup(connection.fileno())) as ending:
            ending.shutdown(socket.SHUT_WR)
        deadline = time.monotonic() + _STOP_SECONDS
        while connection.poll(max(0.0, deadline - time.monotonic())):
            if not os.read(connection.fileno(), _UNREAD):
                break
    except OSError:
        pass
    finally:
        connection.close()
