"""Says in the log how many events could not be published: seldom, but not only at the end."""

from __future__ import annotations

import logging

from events.publisher import EventPublisher

log = logging.getLogger(__name__)


class LostEvents:
    """One executor's. For one thread at a time."""

    def __init__(self, events: EventPublisher) -> None:
        self._events = events
        self._told = 0

    def look(self) -> None:
        """One line for the first losses, and whenever they have doubled."""
        lost = self._events.lost
        if lost and lost >= 2 * self._told:
            self._tell(lost, "so far")

    def end(self) -> None:
        """One line for the whole, if there were any; the publisher is closed."""
        if lost := self._events.lost:
            self._tell(lost, "in all")

    def _tell(self, lost: int, when: str) -> None:
        self._told = lost
        log.warning(
            "events lost %s: %d (jobs go on; monitors and reports lack them): see that the events "
            "topic exists and Pub/Sub can be reached",
            when,
            lost,
        )
