"""The serving end: accepts connections and carries out their requests."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from multiprocessing.connection import Client, Connection, Listener
from typing import Any

from messaging.errors import PortfireError
from storage_backends.contract import StorageBackend
from storage_backends.errors import StorageTransientError
from storage_backends.service.backends import OpenBackends
from storage_backends.service.records import (
    Answer,
    Failure,
    FetchAll,
    ListEntries,
    Open,
    Progress,
    Remove,
    Request,
    Result,
    StoreAll,
)
from storage_backends.watch import Watch

log = logging.getLogger(__name__)

#: Seconds between two `Progress` of a request.
PROGRESS_SECONDS = 1.0
#: Connections that wait to be accepted: all slots of an executor may begin at once.
_BACKLOG = 1024
#: Seconds until it accepts again after the system had no descriptor for a connection.
_ACCEPT_PAUSE = 0.5


class TransferServer:
    """Serves `backends` on a UNIX socket.

    Whoever may connect may read and write as this process does: the socket must lie in a directory
    that only its own user may enter.
    """

    def __init__(self, address: str, backends: OpenBackends) -> None:
        """Listens from now on; raises OSError."""
        self.address = address
        self._backends = backends
        self._closing = threading.Event()
        self._sessions: set[_Session] = set()
        self._listener = Listener(address, "AF_UNIX", backlog=_BACKLOG)
        self._thread = threading.Thread(target=self._accept, name="transfer-accept", daemon=True)

    def start(self) -> None:
        """Accept connections, in a thread."""
        self._thread.start()

    def close(self, patience: float = 2.0) -> None:
        """Accept no more, and stop what is under way; waits at most `patience` seconds for it."""
        self._closing.set()
        with contextlib.suppress(OSError):
            # Nothing else wakes a thread that accepts.
            Client(self.address, "AF_UNIX").close()
        if self._thread.is_alive():
            self._thread.join(patience)
        self._listener.close()
        sessions = list(self._sessions)
        for session in sessions:
            session.stop()
        for session in sessions:
            session.join(patience / len(sessions))

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                connection = self._listener.accept()
            except OSError as exc:
                log.error("cannot accept a connection for transfers: %s", exc)
                self._closing.wait(_ACCEPT_PAUSE)
                continue
            if self._closing.is_set():
                connection.close()
                return
            session = _Session(connection, self._backends, self._sessions.discard)
            self._sessions.add(session)
            session.start()


class _Session:
    """One connection, in a thread that reads it; a request runs in a second thread.

    So the end of the connection is seen at once, whatever its transfer is doing.
    """

    def __init__(
        self,
        connection: Connection,
        backends: OpenBackends,
        ended: Callable[[_Session], None],
    ) -> None:
        self._connection = connection
        self._backends = backends
        self._ended = ended
        self._sending = threading.Lock()  # guards writing to the connection, and _answered
        self._answered = True
        self._watch = Watch()
        self._worker: threading.Thread | None = None
        self._thread = threading.Thread(target=self._run, name="transfer-session", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._watch.stop()

    def join(self, timeout: float) -> None:
        """Wait for the end of the request under way."""
        if self._worker is not None:
            self._worker.join(timeout)

    def _run(self) -> None:
        try:
            # The client may go at any time: then there is nobody to tell.
            with contextlib.suppress(EOFError, OSError):
                self._serve()
        except Exception:
            log.exception("a connection for transfers failed")
        finally:
            self._connection.close()
            self._ended(self)

    def _serve(self) -> None:
        opening = self._connection.recv()
        if not isinstance(opening, Open):
            log.error("a connection for transfers began with %s", type(opening).__name__)
            return
        with contextlib.ExitStack() as stack:
            try:
                borrowed = self._backends.borrow(opening.name, opening.options)
                backend = stack.enter_context(borrowed)
            except Exception as exc:  # noqa: BLE001 - the client must know
                self._answer(_failure(exc))
                return
            self._answer(Result(None))
            self._serve_requests(backend)

    def _serve_requests(self, backend: StorageBackend) -> None:
        try:
            while True:
                self._begin(self._next(), backend)
        finally:
            self._watch.stop()
            if self._worker is not None:
                # The backend must not be closed under it, and the client waits for its end.
                self._worker.join()

    def _next(self) -> Any:
        """The next record; tells the client of progress meanwhile."""
        while not self._answered and not self._connection.poll(PROGRESS_SECONDS):
            with self._sending:
                if not self._answered:
                    self._connection.send(Progress(self._watch.bytes))
        return self._connection.recv()

    def _begin(self, request: Request, backend: StorageBackend) -> None:
        if self._worker is not None:
            self._worker.join()
        self._watch = Watch()
        self._answered = False
        arguments = (request, backend, self._watch)
        self._worker = threading.Thread(
            target=self._work, args=arguments, name="transfer-request", daemon=True
        )
        self._worker.start()

    def _work(self, request: Request, backend: StorageBackend, watch: Watch) -> None:
        answer: Answer
        try:
            answer = Result(self._perform(request, backend, watch))
        except Exception as exc:  # noqa: BLE001 - thread top; the client must know
            answer = _failure(exc)
        with contextlib.suppress(OSError):
            self._answer(answer)

    def _perform(self, request: Request, backend: StorageBackend, watch: Watch) -> Any:
        if isinstance(request, FetchAll):
            return backend.fetch_all(request.wanted, watch=watch, read_only=request.read_only)
        if isinstance(request, StoreAll):
            return backend.store_all(request.uploads, watch=watch)
        if isinstance(request, ListEntries):
            return backend.entries(request.name)
        if isinstance(request, Remove):
            return backend.remove(request.name)
        raise TypeError(f"{type(request).__name__} is no request")

    def _answer(self, answer: Answer) -> None:
        with self._sending:
            self._answered = True
            self._connection.send(answer)


def _failure(exc: Exception) -> Failure:
    if isinstance(exc, PortfireError):
        return Failure.of(exc)
    log.error("a transfer failed in an unforeseen way", exc_info=exc)
    text = f"the transfer process failed, see its log: {type(exc).__name__}: {exc}"
    return Failure.of(StorageTransientError(text))
