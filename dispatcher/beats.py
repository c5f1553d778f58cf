"""The thread in which a dispatcher beats, so that a long turn is not taken for its death."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from dispatcher.launchpad import database_errors
from dispatcher.roster import BEAT_SECONDS, MembershipLostError, Roster
from messaging.errors import PortfireError

log = logging.getLogger(__name__)


class Beats:
    """One thread that beats until `stop`, and calls `on_lost` when the membership is lost."""

    def __init__(
        self,
        roster: Roster,
        report: Callable[[], Mapping[str, Any]],
        on_lost: Callable[[MembershipLostError], None],
        seconds: float | None = None,
    ) -> None:
        """`report` gives what is to be told of this dispatcher; it is called in the thread.

        `seconds` between two beats: by default `BEAT_SECONDS`.
        """
        self._roster = roster
        self._report = report
        self._on_lost = on_lost
        self._seconds = BEAT_SECONDS if seconds is None else seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="beats", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread. Idempotent."""
        self._stopping.set()
        self._thread.join(timeout=5.0)

    def _run(self) -> None:
        while True:
            try:
                with database_errors("show that this dispatcher lives"):
                    self._roster.beat(self._report())
            except MembershipLostError as exc:
                self._on_lost(exc)
                return
            except PortfireError as exc:
                # Away: then nobody else can take over either, and the dispatcher tells of it.
                log.debug("%s", exc)
            if self._stopping.wait(self._seconds):
                return
