"""Transfers that stall, and are stopped then."""

from __future__ import annotations

import threading

from storage_backends.watch import TransferStoppedError, Watch


class Stall:
    """Stalls a transfer before its third block, as a connection that has died does.

    A `before_block` of MemoryBackend.
    """

    def __init__(self) -> None:
        self.begun = threading.Event()
        self._watch = Watch()
        self._blocks = 0

    def __call__(self, _name: str, watch: Watch) -> None:
        self._blocks += 1
        if self._blocks == 3:
            self._watch = watch
            self.begun.set()
            watch.pause(60)

    @property
    def stopped(self) -> bool:
        """Whether somebody stopped the transfer that stalled."""
        try:
            self._watch.check()
        except TransferStoppedError:
            return True
        return False
