"""An event publisher for executors that shall publish none."""

from __future__ import annotations

from typing import Any

from events.publisher import EventPublisher


class SilentPublisher(EventPublisher):
    """Takes events as `EventPublisher` does, and forgets them. No thread, nothing lost."""

    def __init__(self) -> None:
        """It needs no topic."""

    @property
    def lost(self) -> int:
        """None: nobody was to have them."""
        return 0

    def publish(self, event_type: str, **fields: Any) -> None:
        """Forget the event."""

    def flush(self, timeout: float) -> bool:  # noqa: ARG002 - the signature of what it stands for
        """There is nothing to wait for."""
        return True

    def close(self, timeout: float = 5.0) -> None:
        """There is nothing to close."""
