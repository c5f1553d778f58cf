"""Moves the files of one stage between a job's private directory and its storage."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from executor.context import JobContext
from executor.files.storage import JobStorage
from storage_backends.contract import Transfer, Upload
from storage_backends.watch import Watch

Stage = Literal["stage-in", "stage-out"]
#: Seconds until a transfer is announced for the first time, and then again.
ANNOUNCE_SECONDS = 10.0
#: Files that the stage's last event names.
_NAMED_FILES = 100


@dataclass(frozen=True)
class Moved:
    """What was moved, by the job's own names."""

    transfers: Mapping[str, Transfer]

    @property
    def bytes(self) -> int:
        """All bytes."""
        return sum(transfer.bytes for transfer in self.transfers.values())

    @property
    def cached(self) -> int:
        """Those of them that came from the input cache."""
        return sum(transfer.cached for transfer in self.transfers.values())

    def files(self) -> list[dict[str, Any]]:
        """The first files and trees, for events."""
        return [
            {"name": name, "bytes": transfer.bytes, "checksum": transfer.checksum}
            for name, transfer in list(self.transfers.items())[:_NAMED_FILES]
        ]


def fetch_inputs(
    storage: JobStorage,
    names: Sequence[str],
    directory: Path,
    context: JobContext,
    *,
    read_only: bool = False,
) -> Moved:
    """Bring `names` into `directory`, all at once; `read_only` as in the storage's contract.

    Raises StorageError.
    """
    wanted = {storage.prefix + name: directory / name for name in names}
    transfers = storage.backend.fetch_all(
        wanted, watch=AnnouncingWatch("stage-in", context), read_only=read_only
    )
    return _moved(transfers, storage.prefix)


def store_outputs(storage: JobStorage, uploads: Sequence[Upload], context: JobContext) -> Moved:
    """Store `uploads`, whose names are the job's own, all at once. Raises StorageError."""
    placed = [
        Upload(upload.source, storage.prefix + upload.name, upload.within) for upload in uploads
    ]
    transfers = storage.backend.store_all(placed, watch=AnnouncingWatch("stage-out", context))
    return _moved(transfers, storage.prefix)


def _moved(transfers: Mapping[str, Transfer], prefix: str) -> Moved:
    return Moved({name.removeprefix(prefix): each for name, each in transfers.items()})


class AnnouncingWatch(Watch):
    """Announces by an event, at intervals, how much of a long stage has been moved.

    Looked at by the job's main thread, which waits for the transfer and may emit events.
    """

    def __init__(
        self, stage: Stage, context: JobContext, interval: float = ANNOUNCE_SECONDS
    ) -> None:
        super().__init__()
        self._event = f"job.{stage}.progress"
        self._context = context
        self._interval = interval
        self._started = time.monotonic()
        self._next = self._started + interval

    def check(self) -> None:
        """Announce, if it is time; see Watch."""
        super().check()
        now = time.monotonic()
        if now >= self._next:
            self._next = now + self._interval
            self._context.emit(self._event, time=now - self._started, bytes=self.bytes)
