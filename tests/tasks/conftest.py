"""A job's surroundings for tests: a context that records, and directories."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from executor.context import StandaloneContext, use_context
from messaging.errors import JobInterrupted


@dataclass
class RecordingContext(StandaloneContext):
    """A context that keeps its events, and whose lease can be lost."""

    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    lease_is_lost: bool = False
    asked: int = 0

    def emit(self, event_type: str, **fields: Any) -> None:
        self.events.append((event_type, fields))

    def confirm_lease(self) -> None:
        self.asked += 1
        if self.lease_is_lost:
            raise JobInterrupted("the lease is lost")

    @property
    def types(self) -> list[str]:
        return [event_type.removeprefix("job.") for event_type, _ in self.events]

    def fields(self, event_type: str) -> dict[str, Any]:
        return dict(self.events)[f"job.{event_type}"]


@pytest.fixture
def launch_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The launch directory of the job, which is the working directory."""
    directory = tmp_path / "launch"
    directory.mkdir()
    monkeypatch.chdir(directory)
    return directory


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """The directory behind the nfs backend."""
    directory = tmp_path / "store"
    directory.mkdir()
    return directory


@pytest.fixture
def context(store: Path, launch_directory: Path) -> Iterator[RecordingContext]:  # noqa: ARG001 - made first
    """The context of the running job: nfs storage in `store`."""
    recording = RecordingContext(
        job="job-1",
        executor="executor-1",
        thread=0,
        storage="nfs",
        storage_options={"workdir": str(store)},
    )
    with use_context(recording) as used:
        assert used is recording
        yield recording
