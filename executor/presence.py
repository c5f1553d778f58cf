"""What an executor says of itself to the dispatchers: that it is there, with so many slots."""

from __future__ import annotations

from collections.abc import Sequence

from executor.outbox import Outbox
from executor.slot import Slot
from executor.updates import UpdateWriter
from messaging.errors import PortfireError
from messaging.names import Names

#: Errors after which there is no point in trying again: all, for it is said again soon.
_GIVE_UP = (PortfireError, ValueError)


class Presence:
    """Sends `ExecutorNews`. Thread-safe; never blocks, never raises."""

    def __init__(
        self,
        updates: UpdateWriter,
        names: Names,
        outbox: Outbox,
        slots: Sequence[Slot],
        heartbeat: float,
    ) -> None:
        """`heartbeat` is the interval of `say`, in seconds."""
        self._updates = updates
        self._topic = names.updates
        self._outbox = outbox
        self._slots = slots
        self._heartbeat = heartbeat

    def say(self, *, stopped: bool = False) -> None:
        """The executor is there, or takes no more jobs."""
        news = self._updates.news(
            slots=len(self._slots),
            busy=sum(slot.busy for slot in self._slots),
            heartbeat=self._heartbeat,
            stopped=stopped,
        )
        self._outbox.send(self._topic, news, final=_GIVE_UP)
