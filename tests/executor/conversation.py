"""Talking with one child process, as its slot does."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from executor.nursery import ChildHandle
from executor.outcome import LaunchEnded
from executor.records import (
    Done,
    LeaseAnswer,
    LeaseQuestion,
    RunLaunch,
    TaskEvent,
    TransferAnswer,
    TransferQuestion,
    Upward,
)
from messaging.wire import LaunchJob


class Conversation:
    """Runs launches in a child, answering for the executor."""

    def __init__(self, child: ChildHandle, tmp_path: Path) -> None:
        self.child = child
        self.records: list[Upward] = []
        self.holds_lease = True
        #: Where the transfer process listens.
        self.transfer_address = ""
        self._tmp_path = tmp_path
        self._count = 0

    def start(self, job: LaunchJob, **order: Any) -> Path:
        """Send the launch; its directory."""
        self._count += 1
        directory = self._tmp_path / f"launch-{self._count}"
        directory.mkdir()
        self.records = []
        self.child.send(RunLaunch(job, str(directory), **order))
        return directory

    def end(self) -> Done | None:
        """Wait for the end; None when the child died."""
        while (record := self.child.receive()) is not None:
            self.records.append(record)
            if isinstance(record, LeaseQuestion):
                self.child.send(LeaseAnswer(record.number, self.holds_lease))
            if isinstance(record, TransferQuestion):
                self.child.send(TransferAnswer(record.number, self.transfer_address))
            if isinstance(record, Done):
                return record
        return None

    def end_in_thread(self, ends: list[Done | None]) -> threading.Thread:
        """Go on answering in a thread, which adds what `end` answers to `ends`."""
        thread = threading.Thread(target=lambda: ends.append(self.end()), daemon=True)
        thread.start()
        return thread

    def run(self, job: LaunchJob, **order: Any) -> LaunchEnded:
        """Run the launch to its end; `order` has more for its record."""
        self.directory = self.start(job, **order)
        done = self.end()
        assert done is not None
        assert isinstance(done.outcome, LaunchEnded)
        return done.outcome

    def events(self) -> list[tuple[str, dict[str, Any]]]:
        """The events of the last launch."""
        return [(r.type, r.fields) for r in self.records if isinstance(r, TaskEvent)]
