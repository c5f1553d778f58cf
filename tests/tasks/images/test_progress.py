"""The events that tell how a pull goes on."""

from __future__ import annotations

from typing import Any

from events.types import EVENT_TYPES, make_event
from executor.images.pull import PullProgress


def line(layer: str, status: str, current: int = 0, total: int = 0) -> dict[str, Any]:
    detail = {"current": current, "total": total} if total else {}
    return {"id": layer, "status": status, "progressDetail": detail}


def test_progress_is_told_every_five_seconds_at_most() -> None:
    now, told = [100.0], list[tuple[str, dict[str, Any]]]()
    progress = PullProgress(
        lambda event_type, **fields: told.append((event_type, fields)), "a:1", clock=lambda: now[0]
    )
    progress.start()
    progress.hear({"id": "1", "status": "Pulling from a"})
    progress.hear(line("aa", "Already exists"))
    progress.hear(line("bb", "Pulling fs layer"))
    progress.hear(line("cc", "Pulling fs layer"))
    for second in range(1, 13):
        now[0] = 100.0 + second
        progress.hear(line("bb", "Downloading", second * 10, 1000))
    progress.hear(line("cc", "Downloading", 50, 200))
    progress.hear(line("bb", "Download complete"))
    progress.hear(line("bb", "Extracting", 1, 1000))
    progress.hear({"status": "Status: Downloaded newer image"})
    progress.finish(error="broken")
    types = [event_type.removeprefix("job.image-pull.") for event_type, _ in told]
    assert types == ["started", "progress", "progress", "finished"]
    assert told[0][1] == {"image": "a:1"}
    assert told[1][1] == {"image": "a:1", "bytes": 50, "total": 1000, "layers": 3, "time": 5.0}
    assert told[2][1]["bytes"] == 100
    end = {"image": "a:1", "bytes": 1050, "total": 1200, "layers": 3, "time": 12.0}
    assert told[3][1] == {**end, "error": "broken"}
    for event_type, fields in told:
        event = make_event({"type": event_type, "executor": "e", "id": "1", **fields})
        assert type(event) is EVENT_TYPES[event_type]
