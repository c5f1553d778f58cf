"""Events about ends that no executor knows of: the dispatcher itself FIZZLED a launch."""

from __future__ import annotations

from typing import Any

from events.publisher import EventPublisher

#: What FireWorks writes of any failure; the stack trace's last line says more.
_NOTHING_SAID = "runtime error during task"


class Announcements:
    """Publishes ``job.finished`` for launches that the dispatcher ended. Not thread-safe."""

    def __init__(self, launchpad: Any, events: EventPublisher) -> None:
        self._launchpad = launchpad
        self._events = events

    def fizzled(self, job: str, launch_id: int) -> None:
        """Announce the end of a launch, with the reason that its document gives."""
        launch = self._launchpad.launches.find_one({"launch_id": launch_id}, {"action": 1})
        firework = self._launchpad.fireworks.find_one({"launches": launch_id}, {"name": 1})
        self._events.publish(
            "job.finished",
            id=job,
            name=firework["name"] if firework else None,
            state="FIZZLED",
            phase="job",
            reason=_reason((launch or {}).get("action") or {}),
        )

    def close(self) -> None:
        """Publish what is queued, for a moment at most."""
        self._events.close(timeout=2.0)


def _reason(action: dict[str, Any]) -> str:
    stored = action.get("stored_data", {})
    message = str(stored.get("_message", ""))
    if message and message != _NOTHING_SAID:
        return message
    lines = str(stored.get("_exception", {}).get("_stacktrace", "")).strip().splitlines()
    return f"its FWAction cannot be applied: {lines[-1].strip()}" if lines else _NOTHING_SAID
