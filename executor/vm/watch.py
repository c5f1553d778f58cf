"""Watches one path of the metadata server, by requests that wait until it changes."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable

from executor.vm.metadata import MetadataConnection, Metadatum
from messaging.errors import PortfireError, ServiceError

log = logging.getLogger(__name__)

#: Seconds that one request waits for a change.
_WAIT_SECONDS = 60.0
_READ_SECONDS = 10.0
#: Pause after a request that neither waited nor brought anything new: of a server that cannot wait.
_POLL_SECONDS = 5.0
#: Pause between two changes, at least.
_CHANGE_SECONDS = 0.1
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 30.0


class MetadataWatch:
    """One thread that calls `on_value` with what stands at `path`: at first, and at each change.

    `on_value` may raise PortfireError, of which one line is logged. A server that is away is asked
    again, ever more rarely; one line says so, and another that it is back.
    """

    def __init__(
        self,
        host: str,
        path: str,
        on_value: Callable[[str], None],
        *,
        name: str,
        recursive: bool = False,
    ) -> None:
        self._connection = MetadataConnection(host)
        self._path = path
        self._query = {"recursive": "true"} if recursive else {}
        self._on_value = on_value
        self._known: Metadatum | None = None
        self._pause = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start watching."""
        self._thread.start()

    def stop(self, timeout: float = 5.0) -> None:
        """Stop watching, whatever it waits for."""
        self._stopping.set()
        self._connection.close()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._look()
        except Exception:
            log.exception("changes of %s are not noticed any more", self._path)

    def _look(self) -> None:
        began = time.monotonic()
        try:
            found = self._read()
        except PortfireError as exc:
            self._fail(exc)
            return
        if self._pause:
            log.info("metadata server %s answers again", self._connection.host)
            self._pause = 0.0
        known, self._known = self._known, found
        if known is None or found.text != known.text:
            self._tell(found.text)
            self._stopping.wait(_CHANGE_SECONDS)
        elif time.monotonic() - began < 1.0:
            self._stopping.wait(_POLL_SECONDS)

    def _read(self) -> Metadatum:
        known = self._known
        if known is None or not known.etag:
            return self._connection.read(self._path, _READ_SECONDS, **self._query)
        return self._connection.wait(self._path, known.etag, _WAIT_SECONDS, **self._query)

    def _tell(self, text: str) -> None:
        try:
            self._on_value(text)
        except PortfireError as exc:
            log.warning("%s", exc)

    def _fail(self, error: PortfireError) -> None:
        if self._stopping.is_set():
            return
        if not self._pause:
            what = f"{error}" if isinstance(error, ServiceError) else f"nothing to watch: {error}"
            log.warning("%s; asking again until it does", what)
        self._pause = min(max(_FIRST_PAUSE, self._pause * 2), _LONGEST_PAUSE)
        self._stopping.wait(self._pause * random.uniform(0.5, 1.0))
