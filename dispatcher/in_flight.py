"""The table of jobs that one dispatcher published, or took over, and that have not ended."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True)
class InFlight:
    """One launch on its way."""

    job: str
    launch_id: int
    fw_id: int
    attempt: int
    #: Whether an executor has said that it started.
    running: bool = False
    #: The executor that spoke last.
    executor: str | None = None
    #: Monotonic time, in seconds, of the last word from an executor (or of publishing).
    heard: float = 0.0
    #: Who gave it back last, and when by that executor's clock; seconds since the epoch.
    released_by: str | None = None
    released_at: float = 0.0
    #: Pub/Sub lost its state after this was published: the message may be gone.
    suspect: bool = False
    #: `Brief.last_word` as last read: executors may have spoken to another dispatcher.
    last_word: str | None = None


class InFlightTable:
    """Launches in flight by launch id. Not thread-safe."""

    def __init__(self) -> None:
        self._entries: dict[int, InFlight] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[InFlight]:
        return iter(list(self._entries.values()))

    def __contains__(self, launch_id: int) -> bool:
        return launch_id in self._entries

    def add(self, entry: InFlight) -> None:
        """Add, or replace the entry of the same launch."""
        self._entries[entry.launch_id] = entry

    def discard(self, launch_id: int) -> InFlight | None:
        """Remove; None when it was not there."""
        return self._entries.pop(launch_id, None)

    def drop(self, launch_id: int, attempt: int) -> bool:
        """Remove the entry unless it is of a newer attempt; whether there was one."""
        entry = self._entries.get(launch_id)
        if entry is None or entry.attempt > attempt:
            return False
        del self._entries[launch_id]
        return True

    def hear(
        self, launch_id: int, attempt: int, now: float, *, running: bool, executor: str
    ) -> None:
        """An executor spoke of this attempt: it is alive.

        One that gave it back may have published it before Pub/Sub lost its state: that ends no
        suspicion.
        """
        entry = self._entries.get(launch_id)
        if entry is not None and attempt >= entry.attempt:
            suspect = entry.suspect and not running
            heard = replace(entry, heard=now, running=running, executor=executor, suspect=suspect)
            self.add(heard)

    def read(self, launch_id: int, last_word: str | None, now: float) -> None:
        """The LaunchPad says when an executor last spoke of it: news, if it said otherwise before.

        The first time it says so little that it counts for a start only; it may be what an executor
        said of an older attempt, so that a suspicion stays.
        """
        entry = self._entries.get(launch_id)
        if entry is None or entry.last_word == last_word:
            return
        running = last_word is not None
        is_news = entry.last_word is not None or (running and not entry.running)
        read = replace(entry, last_word=last_word, running=running)
        suspect = entry.suspect and entry.last_word is None
        self.add(replace(read, heard=now, suspect=suspect) if is_news and running else read)

    def release(self, launch_id: int, executor: str, timestamp: float) -> None:
        """This executor gave it back at this time."""
        entry = self._entries.get(launch_id)
        if entry is not None:
            self.add(replace(entry, released_by=executor, released_at=timestamp))

    def is_overtaken(self, launch_id: int, executor: str, timestamp: float) -> bool:
        """Whether this executor said something before it gave the launch back."""
        entry = self._entries.get(launch_id)
        if entry is None or entry.released_by != executor:
            return False
        return timestamp <= entry.released_at

    def runs_elsewhere(self, launch_id: int, executor: str) -> bool:
        """Whether another executor has said that it runs this launch."""
        entry = self._entries.get(launch_id)
        return entry is not None and entry.running and entry.executor not in (None, executor)

    def suspect_all(self, now: float) -> None:
        """Pub/Sub lost its state: none of the messages can be relied on any more."""
        for entry in self:
            self.add(replace(entry, suspect=True, heard=now))

    def lost(self, now: float, silence: float) -> list[InFlight]:
        """Suspects whose message must be published again.

        A job that waited in Pub/Sub is gone for certain; one that runs may well go on running, and
        is given `silence` seconds to be heard of.
        """
        return [
            entry
            for entry in self
            if entry.suspect and (not entry.running or now - entry.heard > silence)
        ]

    def silent(self, now: float, silence: float) -> list[InFlight]:
        """What runs, is no suspect, and has not been heard of for `silence` seconds."""
        return [
            entry
            for entry in self
            if entry.running and not entry.suspect and now - entry.heard > silence
        ]
