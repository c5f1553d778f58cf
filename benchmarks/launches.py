"""What the launches of a LaunchPad say of time."""

from __future__ import annotations

import statistics
from datetime import datetime, timezone
from typing import Any


def span(launchpad: Any, skipped: int = 0) -> float:
    """Seconds from the first start to the last end, without the first `skipped` launches."""
    launches = launchpad.launches.find(
        {"launch_id": {"$gt": skipped}}, {"time_start": 1, "time_end": 1}
    )
    times = [(_seconds(one["time_start"]), _seconds(one["time_end"])) for one in launches]
    return max(end for _, end in times) - min(start for start, _ in times)


def median_gap(launchpad: Any, skipped: int = 0) -> float:
    """The median of the seconds from the end of a last parent to the start of its child.

    Ends and starts are those of the launch documents. Raises StatisticsError without any child.
    """
    started, ended = {}, {}
    for launch in launchpad.launches.find({"launch_id": {"$gt": skipped}}):
        started[launch["fw_id"]] = _seconds(launch["time_start"])
        ended[launch["fw_id"]] = _seconds(launch["time_end"])
    last_end: dict[int, float] = {}
    for workflow in launchpad.workflows.find({"nodes": {"$in": list(started)}}, {"links": 1}):
        for parent, children in workflow["links"].items():
            for child in children:
                last_end[child] = max(last_end.get(child, 0.0), ended[int(parent)])
    return statistics.median(started[child] - end for child, end in last_end.items())


def _seconds(moment: datetime | str) -> float:
    read = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return read.replace(tzinfo=timezone.utc).timestamp()
