"""A change stream that tells of Fireworks becoming READY, where MongoDB has change streams."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from pymongo.errors import OperationFailure, PyMongoError

from dispatcher.pace import Pace

log = logging.getLogger(__name__)

#: MongoDB answers after so long, in milliseconds, when nothing has changed.
_AWAIT_MS = 2000
#: Seconds before each waking, and until a stream that broke off is tried again.
_REST_SECONDS = 0.01
_RETRY_SECONDS = 5.0
#: "The $changeStream stage is only supported on replica sets", and two for missing rights.
_NEVER_CODES = frozenset({40573, 13, 8000})

_PIPELINE: list[dict[str, Any]] = [
    {
        "$match": {
            "$or": [
                {"updateDescription.updatedFields.state": "READY"},
                {"operationType": {"$in": ["insert", "replace"]}, "fullDocument.state": "READY"},
            ]
        }
    },
    {"$project": {"_id": 1}},
]


class ReadyWatch:
    """One thread that calls `wake` when a Firework becomes READY, as long as `pace` wants it to.

    Without a replica set, or without the right to watch, it ends: the dispatcher asks instead.
    """

    def __init__(self, launchpad: Any, pace: Pace, wake: Callable[[], None]) -> None:
        """`wake` must be thread-safe."""
        self._fireworks = launchpad.fireworks
        self._pace = pace
        self._wake = wake
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ready-watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread. Idempotent."""
        self._stopping.set()
        self._pace.wants_watch.set()
        self._thread.join(timeout=_AWAIT_MS / 1000 + 3.0)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._pace.wants_watch.wait()
            if self._stopping.is_set():
                return
            try:
                self._watch()
            except OperationFailure as exc:
                if exc.code in _NEVER_CODES:
                    log.debug("no change streams here (%s): the LaunchPad is asked instead", exc)
                    return
                self._rest_after(exc)
            except (PyMongoError, ValueError) as exc:  # ValueError: the client was closed
                self._rest_after(exc)

    def _watch(self) -> None:
        with self._fireworks.watch(_PIPELINE, max_await_time_ms=_AWAIT_MS) as stream:
            try:
                self._pace.is_watched.set()
                # What became READY before the stream was there.
                self._wake()
                while self._pace.wants_watch.is_set() and not self._stopping.is_set():
                    if stream.try_next() is not None:
                        # Its workflow comes a moment later.
                        self._stopping.wait(_REST_SECONDS)
                        self._wake()
            finally:
                self._pace.is_watched.clear()

    def _rest_after(self, error: Exception) -> None:
        log.debug("the change stream broke off: %s", error)
        self._stopping.wait(_RETRY_SECONDS)
