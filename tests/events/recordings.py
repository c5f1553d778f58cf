"""What the tests of recordings share: events, messages, and what is in a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from events.recording import read_events
from events.types import Event, make_event
from messaging.pubsub import Outgoing, PubSub


def job_events(job: str, count: int, executor: str = "exec-1") -> list[Event]:
    """Events 1 to `count` of a job, a tenth of a second apart."""
    return [
        make_event(
            {
                "type": "job.stage-in.progress",
                "executor": executor,
                "id": job,
                "seq": seq,
                "event_id": f"{executor}/{job}/{seq}",
                "timestamp": 1000.0 + seq / 10,
                "note": "kept as it is \u2713",
            }
        )
        for seq in range(1, count + 1)
    ]


def publish(pubsub: PubSub, topic: str, events: Sequence[Event]) -> None:
    """Publish events as an executor does."""
    pubsub.publish(topic, [Outgoing(event.encode(), event.attributes()) for event in events])


def write_lines(path: Path, events: Sequence[Event], end: bytes = b"") -> None:
    """A recording of these events, and `end`."""
    path.write_bytes(b"".join(event.encode() + b"\n" for event in events) + end)


def ids(path: Path) -> list[str]:
    """The ids of a recording's events, in its order."""
    return [event.event_id for event in read_events(path)]
