"""`portfire run --events`: the events of a run in a file, for a report."""

from __future__ import annotations

from pathlib import Path

import pytest

from commands.kept_events import KeptEvents
from events.recording import read_events
from messaging.errors import UsageError
from tests.events.timelines import Story


def test_what_is_kept_can_be_read_again(tmp_path: Path) -> None:
    events = list(Story().run())
    kept = KeptEvents(tmp_path / "events.jsonl")
    for event in events:
        kept.keep(event)
    kept.close()
    kept.close()
    kept.keep(events[0])
    assert list(read_events(kept.path)) == events


def test_a_file_that_cannot_be_made_is_told_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no/such"):
        KeptEvents(tmp_path / "no" / "such" / "events.jsonl")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_costs_the_events_and_not_the_run(caplog: pytest.LogCaptureFixture) -> None:
    kept = KeptEvents(Path("/dev/full"))
    for event in list(Story().run()) * 20:
        kept.keep(event)
    kept.close()
    assert "not kept in /dev/full" in caplog.text
    assert len(caplog.records) == 1
