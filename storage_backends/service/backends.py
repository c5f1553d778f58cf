"""The backends that the transfer process has open."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from storage_backends.contract import StorageBackend

Opener = Callable[[str, Mapping[str, Any]], StorageBackend]
#: Idle backends that stay open: each may hold a pool of connections.
_KEPT = 16


@dataclass(eq=False)
class _Opened:
    backend: StorageBackend
    users: int = 0


class OpenBackends:
    """Backends by name and options, open once for all who use them at the same time. Thread-safe.

    A backend stays open while it is used; of the others the last few do.
    """

    def __init__(self, opener: Opener, kept: int = _KEPT) -> None:
        self._opener = opener
        self._kept = kept
        self._lock = threading.Lock()  # guards _opened, and opens one at a time
        self._opened: OrderedDict[str, _Opened] = OrderedDict()

    @contextmanager
    def borrow(self, name: str, options: Mapping[str, Any]) -> Iterator[StorageBackend]:
        """The backend inside the ``with`` block; raises UsageError for a wrong name or option."""
        opened = self._take(name, options)
        try:
            yield opened.backend
        finally:
            self._give_back(opened)

    def _take(self, name: str, options: Mapping[str, Any]) -> _Opened:
        key = backend_key(name, options)
        with self._lock:
            if key not in self._opened:
                self._opened[key] = _Opened(self._opener(name, options))
            opened = self._opened[key]
            opened.users += 1
            self._opened.move_to_end(key)
            return opened

    def _give_back(self, opened: _Opened) -> None:
        with self._lock:
            opened.users -= 1
            idle = [key for key, other in self._opened.items() if not other.users]
            unwanted = [self._opened.pop(key) for key in idle[: max(0, len(idle) - self._kept)]]
        for other in unwanted:
            other.backend.close()


def backend_key(name: str, options: Mapping[str, Any]) -> str:
    """The same text for the same backend with the same options. May hold credentials."""
    return json.dumps([name, options], sort_keys=True, default=repr)
